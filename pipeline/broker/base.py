"""What the pipeline needs of a broker.

`kafka/` and `embedded/` implement it, and one contract suite tests both.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from .topic_spec import TopicSpec as TopicSpec  # noqa: PLC0414 - others import it from here

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Unread(NamedTuple):
    """Records that could not be read: those from ``first_offset`` to the offset of the record with this mark.

    Attributes:
        first_offset: of the first record that could not be read.
        size: bytes of their batch, as it is stored.
        reason: a part of a sentence that begins with "it" or "its".
    """

    first_offset: int
    size: int
    reason: str


class Record(NamedTuple):
    """A record as it is stored in the log. Headers may repeat a name; the last value counts.

    With ``unread``, it stands for all records of a batch that could not be read; key, value and
    headers are then empty.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    unread: Unread | None = None


class Message(NamedTuple):
    """A record to publish.

    Without ``partition``, the key chooses the partition as Kafka's own clients do (murmur2);
    without a key too, the partitions take turns.
    """

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


class Listener(Protocol):
    """Callbacks of a consumer for its assignment.

    A rebalance revokes all partitions of all members, then assigns all partitions again. Both calls
    are awaited. If one raises, the next `Consumer.poll` raises BrokerError.
    """

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """``partitions`` is the whole new assignment.

        `poll` returns no record of it before this call has returned.
        """
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Finish and commit what was read of these partitions, which are all that the consumer has.

        They can still be committed during this call, and `poll` returns no records. No member gets
        them before the call has returned. The whole group waits for it, so it must be bounded:
        after the rebalance timeout the group removes the member. Not called when the consumer is
        closed. On Kafka, a member that was removed from its group gets this call late: other
        members may already read the partitions, and commits of them are ignored.
        """
        ...


class Consumer(Protocol):
    """One member of a consumer group; without a group, a reader of all partitions of its topics.

    Records of transactions are returned when they are committed, and never if they are aborted.
    Partitions that are not assigned to the consumer are ignored by `pause`, `resume`, `seek` and
    `commit`.
    """

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """Return the next records: at most ``max_records``, in offset order within each partition.

        The list is empty if no record came within ``timeout_ms``, and during a rebalance. A member
        must poll at least every few seconds, also while all of its partitions are paused: otherwise
        the group removes it. Raises BrokerError if the consumer is closed or cannot continue as a
        member.
        """
        ...

    def assignment(self) -> frozenset[TopicPartition]: ...

    def positions(self) -> Mapping[TopicPartition, int]:
        """The offset at which the next `poll` goes on, of each assigned partition that has one.

        The records before it were returned, or never will be: control records of transactions,
        aborted records, deleted ones.
        """
        ...

    def generation(self) -> int:
        """The number of the group's last assignment: it is higher than that of any assignment before it.

        On Kafka a static member that comes back within its session timeout has the same number again. Without
        a group it is 0.
        """
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop returning records of these partitions.

        A partition that stays with the consumer in a rebalance stays paused; one that leaves and
        comes back does not.
        """
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None: ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store, for each partition, the offset of the next record to read.

        Ignores partitions that a rebalance has revoked, with a warning. Raises BrokerError without
        a group.
        """
        ...

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        """The committed offset of each partition; None if the group, or a reader without one, has none."""
        ...

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset of each partition's oldest record.

        It is the end offset if the partition is empty or retention has deleted all records.
        """
        ...

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next published record of each partition will get.

        If a transaction is open, the offset of its first record: nothing behind it is read before it ends.
        """
        ...

    async def offsets_at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The offset of each partition's first record with this timestamp (Unix ms) or a later one.

        It is the end offset if there is no such record.
        """
        ...

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Continue each of these partitions at the given offset."""
        ...

    async def close(self) -> None:
        """Leave the group, so that its other members get the partitions at once. Does not commit.

        A static member does not leave on Kafka: it keeps its partitions until its session times
        out. May be called more than once.
        """
        ...


class Broker(Protocol):
    """A connection to a broker.

    ``async with`` opens and closes it. Closing first closes all consumers, then waits until
    published messages are stored or have failed.
    """

    async def __aenter__(self) -> "Broker": ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Append the message to its topic. Returns at once.

        The future is done when the record is durable (on Kafka: acknowledged by all in-sync
        replicas). It fails with ReplyTooLarge if the record is too large for the broker, with
        NotWritable if its topic is missing or does not take it, otherwise with BrokerError.
        Messages for one partition are appended in the order of the calls. The number of unfinished
        messages is not limited here: the caller must limit it.
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
        """Join ``group``; without a group, read all partitions of ``topics``. Returns once assigned.

        A reader without a group begins at ``start``, "earliest" or "latest". A member of a group
        begins at the committed offset of each partition, or at its earliest record if there is
        none. ``member`` is the name of a static member: if it comes back within the session
        timeout, it gets the same partitions without a rebalance. Raises BrokerError, for example
        for a topic that does not exist.
        """
        ...

    async def ensure_topics(self, specs: Collection[TopicSpec]) -> None:
        """Create the missing topics.

        Raises BrokerError if an existing topic has fewer partitions than its minimum.
        """
        ...

    async def partitions(self, topic: str) -> int | None:
        """The number of partitions of the topic; None if it does not exist. Never creates a topic."""
        ...
