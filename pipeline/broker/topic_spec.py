"""A topic as it must be."""

from typing import NamedTuple

from ..config import NEW_PARTITIONS


class TopicSpec(NamedTuple):
    """A topic as it must be.

    For an existing topic ``partitions`` is a minimum, and None accepts any number; the other fields
    are used only to create a topic. A replication of -1 is the default of the brokers. Of a ``compacted`` topic
    Kafka keeps the last record of each key; an embedded broker keeps all until they are older than ``retention_ms``.
    """

    name: str
    partitions: int | None = None
    replication: int = -1
    retention_ms: int | None = None
    compacted: bool = False

    @property
    def new_partitions(self) -> int:
        """The number of partitions of the topic if it is created."""
        return self.partitions or NEW_PARTITIONS

    def lacks(self, count: int) -> bool:
        """Whether ``count`` partitions are fewer than the minimum."""
        return self.partitions is not None and count < self.partitions
