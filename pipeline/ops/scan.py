"""Reads topics from given offsets to their present ends, without a consumer group."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from ..broker.base import Broker, Consumer, Record, TopicPartition
from ..errors import UsageError

POLL_RECORDS: Final = 2_000
SILENCE_MS: Final = 3_000
SILENT_POLLS: Final = 2
NONE_DELETED: Final[Mapping[TopicPartition, int]] = {}


async def end_offsets(broker: Broker, topics: Sequence[str]) -> dict[TopicPartition, int]:
    """The end of each partition of those topics that exist. Raises BrokerError."""
    consumer = await broker.consume(await _existing(broker, topics))
    try:
        return dict(await consumer.end_offsets(consumer.assignment()))
    finally:
        await consumer.close()


async def _existing(broker: Broker, topics: Sequence[str]) -> list[str]:
    return [topic for topic in dict.fromkeys(topics) if await broker.partitions(topic) is not None]


class Scan:
    """The records up to the ends that the partitions had when the scan was opened."""

    def __init__(
        self,
        consumer: Consumer,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        silence_ms: int = SILENCE_MS,
        deleted: Mapping[TopicPartition, int] = NONE_DELETED,
    ) -> None:
        self._consumer = consumer
        self._deleted = deleted
        self._ends = ends
        self._silence_ms = silence_ms
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
        """A scan of those topics that exist.

        Ends are read topic by topic in the given order. Name effects before their causes: then the
        cause of each effect is within the scan. Records that retention has deleted are left out.
        When a broker that responds sends no record for two times ``silence_ms``, the rest counts
        as deleted.

        Raises BrokerError; UsageError for a start beyond the end of a partition.
        """
        existing = await _existing(broker, topics)
        consumer = await broker.consume(existing)
        try:
            ends: dict[TopicPartition, int] = {}
            for topic in existing:
                ends |= await consumer.end_offsets([at for at in consumer.assignment() if at.topic == topic])
            wanted = {at: offset for at, offset in (starts or {}).items() if at in ends}
            _check(wanted, ends)
            oldest = await consumer.begin_offsets(ends)
            begins = {at: max(offset, wanted.get(at, 0)) for at, offset in oldest.items()}
            deleted = {at: begins[at] - wanted.get(at, 0) for at in begins}
            await consumer.seek(begins)
            yield cls(consumer, begins, ends, silence_ms, deleted)
        finally:
            await consumer.close()

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        return frozenset(self._ends)

    @property
    def total(self) -> int:
        """The number of offsets from the starts to the ends."""
        return sum(max(0, end - self._started[at]) for at, end in self._ends.items())

    def deleted(self, topic: str) -> int:
        """The number of offsets of a topic that retention has deleted before they were read."""
        return sum(count for at, count in self._deleted.items() if at.topic == topic)

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
            # There may be no record left: retention has deleted it, or the last offsets are
            # transaction markers. A broker that is down sends none either; then this call raises.
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
            if end is None:  # a partition that was added after `open`
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
                f"Partition {at.partition} of {at.topic} ends at {ends[at]}, before offset {offset}, where the last "
                "audit stopped: the topic was deleted and created again, so use another --work file."
            )
