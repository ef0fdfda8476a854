"""The topics of an embedded broker and their committed offsets.

The methods run in the database's thread.
"""

from collections.abc import Collection, Mapping
from itertools import chain
from typing import NamedTuple

from ...errors import BrokerError
from ..base import TopicPartition, TopicSpec
from ..refusals import no_partition, no_topic
from .database import Database


class Bounds(NamedTuple):
    """The offsets of a partition's oldest record and of the next record to be appended."""

    first: int
    next: int


class TopicTable:
    """The tables of partitions and of committed offsets. Each partition has an id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Never stale: a topic is created with all of its partitions and is never deleted.
        self._ids: dict[str, list[int]] = {}

    def ids(self, topic: str) -> list[int]:
        """The ids of the topic's partitions in order; empty if there is no such topic."""
        ids = self._ids.get(topic)
        if ids is None:
            select = "SELECT id FROM partitions WHERE topic = ? ORDER BY number"
            ids = [row[0] for row in self._database.connection.execute(select, [topic])]
            if ids:
                self._ids[topic] = ids
        return ids

    def id_of(self, at: TopicPartition) -> int:
        """Raises BrokerError if there is no such partition."""
        ids = self.ids(at.topic)
        if not ids:
            raise no_topic(at.topic)
        if not 0 <= at.partition < len(ids):
            raise no_partition(at.topic, at.partition, len(ids))
        return ids[at.partition]

    def ensure(self, specs: Collection[TopicSpec]) -> None:
        """See `Broker.ensure_topics`."""
        with self._database.transaction() as connection:
            for spec in specs:
                count = len(self.ids(spec.name))
                if count and spec.lacks(count):
                    raise BrokerError(
                        f"The topic {spec.name} in {self._database.directory} has {count} of {spec.partitions} "
                        f"partitions: ask for {count}, or use another directory."
                    )
                if not count:
                    insert = "INSERT INTO partitions (topic, number, retention_ms) VALUES (?, ?, ?)"
                    rows = [(spec.name, number, spec.retention_ms) for number in range(spec.new_partitions)]
                    connection.executemany(insert, rows)

    def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Raises BrokerError for a partition that does not exist."""
        select = "SELECT first_offset, next_offset FROM partitions WHERE id = ?"
        execute = self._database.connection.execute
        return {at: Bounds(*execute(select, [self.id_of(at)]).fetchone()) for at in partitions}

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        upsert = f"INSERT OR REPLACE INTO committed VALUES {', '.join(['(?, ?, ?)'] * len(offsets))}"
        rows = ((group, self.id_of(at), offset) for at, offset in offsets.items())
        self._database.connection.execute(upsert, list(chain.from_iterable(rows)))

    def subscribe(self, group: str, topics: Collection[str]) -> None:
        """Note that the group reads these topics: retention keeps what it has not read."""
        insert = "INSERT OR IGNORE INTO subscriptions VALUES (?, ?)"
        self._database.connection.executemany(insert, [(group, topic) for topic in topics])

    def next_generation(self, group: str) -> int:
        """The number of the next assignment of this group, from 1 on."""
        count = (
            "INSERT INTO generations VALUES (?, 1) "
            "ON CONFLICT (consumer_group) DO UPDATE SET number = number + 1 RETURNING number"
        )
        (number,) = self._database.connection.execute(count, [group]).fetchone()
        return int(number)

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int | None]:
        select = "SELECT next_offset FROM committed WHERE consumer_group = ? AND partition = ?"
        execute = self._database.connection.execute
        rows = {at: execute(select, [group, self.id_of(at)]).fetchone() for at in partitions}
        return {at: row[0] if row else None for at, row in rows.items()}
