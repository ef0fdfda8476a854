"""What the pipeline needs of a broker. `kafka.py` and `embedded.py` implement it; one contract suite runs on both."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from ..config import NEW_PARTITIONS

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """A record as it stands in the log. Headers may repeat a name; the last one counts."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Message(NamedTuple):
    """A record to be published. Without a partition the key chooses it as Kafka's own clients do (murmur2)."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


class TopicSpec(NamedTuple):
    """A topic as it must be.

    ``partitions`` is a minimum for a topic that exists already. Without it that may have any number.
    """

    name: str
    partitions: int | None = None
    replication: int = 1
    retention_ms: int | None = None

    @property
    def new_partitions(self) -> int:
        """How many the topic gets when it is created."""
        return self.partitions or NEW_PARTITIONS

    def lacks(self, count: int) -> bool:
        """Whether ``count`` partitions are fewer than asked for."""
        return self.partitions is not None and count < self.partitions


class Listener(Protocol):
    """Told of rebalances. Both calls are awaited; the group waits for ``revoked``, so it must be bounded."""

    async def assigned(self, partitions: Collection[TopicPartition]) -> None: ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None: ...


class Consumer(Protocol):
    """One member of a consumer group, or without a group a plain reader of partitions."""

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """Up to ``max_records``, in offset order within each partition; empty after ``timeout_ms`` without any.

        Must be called at least every few seconds, also while everything is paused, or the group drops the member.
        Raises BrokerError when the membership cannot go on.
        """
        ...

    def assignment(self) -> frozenset[TopicPartition]: ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop returning records of these partitions. Holds across a rebalance for partitions that stay."""
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None: ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the next offset to read of each partition. A commit of a partition just lost is ignored."""
        ...

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]: ...

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The oldest offset that each partition still has; its end where retention has deleted all."""
        ...

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next record of each partition will get."""
        ...

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    async def close(self) -> None:
        """Leave the group, so that its partitions move at once. Commits nothing. May be called twice."""
        ...


class Broker(Protocol):
    """A connection to a broker. ``async with`` starts and stops it; stopping flushes what was published."""

    async def __aenter__(self) -> "Broker": ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Append the message; the future is done when it is durable (on Kafka: acknowledged by all in-sync replicas).

        Calls for one partition are appended in the order of the calls. The future fails with ReplyTooLarge when
        the broker refuses the size, with BrokerError otherwise. Unbounded by itself: the caller bounds what it has
        in flight.
        """
        ...

    async def consume(
        self,
        topics: Collection[str],
        *,
        group: str | None = None,
        listener: Listener | None = None,
        member: str | None = None,
        start: str = "earliest",
    ) -> Consumer:
        """Join ``group``, or without one read all partitions of ``topics`` from ``start`` (earliest or latest).

        A group with no committed offset begins at the earliest record. ``member`` makes the membership static:
        back within the session timeout it gets its partitions without a rebalance.
        """
        ...

    async def ensure_topics(self, specs: Collection[TopicSpec]) -> None:
        """Create what is missing. Raises BrokerError for a topic with fewer partitions than asked for."""
        ...

    async def partitions(self, topic: str) -> int | None:
        """How many partitions the topic has; None when there is no such topic."""
        ...
