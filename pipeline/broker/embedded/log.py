"""The records of an embedded broker: appending and reading.

The methods run in the database's thread.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...errors import InferstreamError, ReplyTooLarge
from ..base import Message, Record, TopicPartition
from ..partitioner import partition_of
from ..refusals import no_topic
from .batches import Content, decode, encode, size_of, split
from .database import OFFSET_BITS, Database
from .retention import Retention
from .topics import TopicTable

RECORD_BYTES: Final = 1_048_576  # Kafka's default, so that a record accepted here is accepted there
READ_BATCHES: Final = 64
READ_BYTES: Final = 512 * 1024

READ: Final = f"""
WITH wanted AS (
    SELECT id << {OFFSET_BITS} AS first, (id << {OFFSET_BITS}) + max(first_offset, :offset) AS at
    FROM partitions WHERE id = :id
)
SELECT position - first, at - first, timestamp_ms, content FROM wanted JOIN batches
WHERE position >= coalesce((SELECT max(position) FROM batches WHERE position BETWEEN first AND at), at)
    AND position < first + (1 << {OFFSET_BITS}) AND position + records > at
ORDER BY position LIMIT :batches
"""


class Log:
    """Appends to and reads from the partitions."""

    def __init__(
        self, database: Database, topics: TopicTable, retention: Retention, clock_ms: Callable[[], int]
    ) -> None:
        """``clock_ms`` returns the Unix time in milliseconds."""
        self.topics = topics
        self._database = database
        self._clock_ms = clock_ms
        self._retention = retention
        self._turns: dict[str, int] = {}

    def append(self, messages: Sequence[Message]) -> list[InferstreamError | None]:
        """Append in order. Returns for each message None if it is stored, otherwise why it was refused."""
        refusals: list[InferstreamError | None] = [None] * len(messages)
        contents: dict[int, list[Content]] = {}
        for index, message in enumerate(messages):
            try:
                partition_id = self._partition_id(message)
            except InferstreamError as error:
                refusals[index] = error
            else:
                contents.setdefault(partition_id, []).append((message.key, message.value, message.headers))
        now_ms = self._clock_ms()
        queues = [(partition_id, split(rows)) for partition_id, rows in contents.items()]
        while batches := [
            (partition_id, batch) for partition_id, queue in queues if (batch := next(queue, None))
        ]:
            _append(self._database.connection, batches, now_ms)
        if self._retention.due:
            self._retention.run()
        return refusals

    def read(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[Record]]:
        """The next records of each partition, from the given offset or the oldest record after it.

        At most about READ_BYTES per partition; partitions without such records are left out.
        """
        found = ((at, self._read(at, offset)) for at, offset in positions.items())
        return {at: records for at, records in found if records}

    def offsets_at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """The offset of the first record of each partition that is not older; its end if all are."""
        offsets = {}
        for at, bound in self.topics.bounds(times_ms).items():
            oldest = self._retention.oldest_since(self.topics.id_of(at), times_ms[at])
            offsets[at] = bound.next if oldest is None else max(oldest, bound.first)
        return offsets

    def trim(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Delete the records before these offsets."""
        for at, offset in offsets.items():
            self._retention.trim(self.topics.id_of(at), offset)

    def _partition_id(self, message: Message) -> int:
        ids = self.topics.ids(message.topic)
        if not ids:
            raise no_topic(message.topic)
        size = size_of((message.key, message.value, message.headers))
        if size > RECORD_BYTES:
            raise ReplyTooLarge(
                f"A record of {size} bytes is too large for the topic {message.topic}: "
                f"make it at most {RECORD_BYTES} bytes."
            )
        if message.partition is not None:
            return self.topics.id_of(TopicPartition(message.topic, message.partition))
        if message.key is not None:
            return ids[partition_of(message.key, len(ids))]
        turn = self._turns[message.topic] = (self._turns.get(message.topic, -1) + 1) % len(ids)
        return ids[turn]

    def _read(self, at: TopicPartition, offset: int) -> list[Record]:
        arguments = {"id": self.topics.id_of(at), "offset": offset, "batches": READ_BATCHES}
        records: list[Record] = []
        room = READ_BYTES
        for base_offset, first_wanted, timestamp_ms, content in self._database.connection.execute(
            READ, arguments
        ):
            batch = decode(content, at, base_offset, timestamp_ms)
            records += batch[max(0, first_wanted - base_offset) :]
            room -= len(content)
            if room <= 0:
                break
        return records


def _append(
    connection: sqlite3.Connection, batches: Sequence[tuple[int, list[Content]]], now_ms: int
) -> None:
    """Append to several partitions, one batch to each, in one transaction."""
    # One statement: each statement releases the GIL and then waits for the busy event loop to get
    # it back. A trigger updates the partitions' next_offset.
    values = ", ".join(["(?, ?, ?)"] * len(batches))
    insert = f"""INSERT INTO batches
        SELECT (partitions.id << {OFFSET_BITS}) + next_offset, column2, {now_ms:d}, column3
        FROM (VALUES {values}) JOIN partitions ON partitions.id = column1"""
    arguments: list[int | bytes] = []
    for partition_id, contents in batches:
        arguments += [partition_id, len(contents), encode(contents)]
    connection.execute(insert, arguments)
