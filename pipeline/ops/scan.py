"""Reading topics from their oldest records, or from where one was, to their present ends: bounded, without a group."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from ..broker.base import Broker, Consumer, Record, TopicPartition
from ..errors import UsageError

POLL_RECORDS: Final = 2_000
SILENCE_MS: Final = 3_000
SILENT_POLLS: Final = 2


class Scan:
    """The records between the positions and the ends that partitions had when the scan was opened."""

    def __init__(
        self,
        consumer: Consumer,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        silence_ms: int = SILENCE_MS,
    ) -> None:
        self._consumer, self._ends, self._silence_ms = consumer, ends, silence_ms
        self._started = {at: starts.get(at, 0) for at in ends}
        self._unread = {at for at, end in ends.items() if end > self._started[at]}
        self._positions = dict(self._started)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        broker: Broker,
        topics: Sequence[str],
        starts: Mapping[TopicPartition, int] | None = None,
        *,
        silence_ms: int = SILENCE_MS,
    ) -> AsyncGenerator[Self]:
        """A scan of the topics that there are.

        The ends are taken topic by topic in this order: name effects before their causes, and each effect's cause is
        within what is read. What retention has deleted is left out. Twice ``silence_ms`` without a record, from a
        broker that answers, and the rest is taken for deleted meanwhile. Raises BrokerError; UsageError for a start
        behind the end of a partition.
        """
        there = [topic for topic in dict.fromkeys(topics) if await broker.partitions(topic) is not None]
        consumer = await broker.consume(there)
        try:
            ends: dict[TopicPartition, int] = {}
            for topic in there:
                ends |= await consumer.end_offsets([at for at in consumer.assignment() if at.topic == topic])
            wanted = {at: offset for at, offset in (starts or {}).items() if at in ends}
            _check(wanted, ends)
            begins = await consumer.begin_offsets(ends)
            begins = {at: max(offset, wanted.get(at, 0)) for at, offset in begins.items()}
            await consumer.seek(begins)
            yield cls(consumer, begins, ends, silence_ms)
        finally:
            await consumer.close()

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        return frozenset(self._ends)

    @property
    def total(self) -> int:
        """Offsets between the starts and the ends."""
        return sum(max(0, end - self._started[at]) for at, end in self._ends.items())

    @property
    def done(self) -> int:
        return sum(position - self._started[at] for at, position in self._positions.items())

    async def batches(self) -> AsyncGenerator[list[Record]]:
        """All records, in offset order within each partition. Raises BrokerError."""
        self._consumer.pause(self.partitions - self._unread)
        silent = 0
        while self._unread:
            records = await self._consumer.poll(POLL_RECORDS, self._silence_ms)
            if records:
                silent = 0
                yield self._within(records)
                continue
            # Retention may have deleted the last records of a partition since, and the marks of transactions take
            # offsets, yet a broker that is down is silent, too: then this raises.
            await self._consumer.end_offsets(self._unread)
            silent += 1
            if silent == SILENT_POLLS:
                self._positions.update({at: self._ends[at] for at in self._unread})
                self._unread.clear()

    def _within(self, records: Sequence[Record]) -> list[Record]:
        within = []
        for record in records:
            at = TopicPartition(record.topic, record.partition)
            end = self._ends.get(at)
            if end is None:  # a partition that was added since
                self._consumer.pause([at])
                continue
            if record.offset < end:
                within.append(record)
            self._positions[at] = min(record.offset + 1, end)
        finished = {at for at in self._unread if self._positions[at] >= self._ends[at]}
        self._unread -= finished
        self._consumer.pause(finished)
        return within


def _check(starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> None:
    for at, offset in starts.items():
        if offset > ends[at]:
            raise UsageError(
                f"Partition {at.partition} of {at.topic} ends at {ends[at]}, before {offset}, where the last audit "
                "was: the topic was made anew, so begin anew with another --work file."
            )
