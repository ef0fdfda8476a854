"""The topics of an embedded broker. The methods run in the database's thread."""

from collections.abc import Collection
from typing import NamedTuple

from ...errors import BrokerError
from ..base import TopicPartition, TopicSpec
from .database import Database


class Bounds(NamedTuple):
    """The offsets of a partition: of its oldest record, and of the next one to be appended."""

    first: int
    next: int


class Topics:
    """Which partitions there are, and the ids that their rows carry."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Never out of date: a topic is created with all its partitions, and stays.
        self._ids: dict[str, list[int]] = {}

    def ids(self, topic: str) -> list[int]:
        """The ids of the topic's partitions in their order; empty without such a topic."""
        ids = self._ids.get(topic)
        if ids is None:
            select = "SELECT id FROM partitions WHERE topic = ? ORDER BY number"
            ids = [row[0] for row in self._database.connection.execute(select, [topic])]
            if ids:
                self._ids[topic] = ids
        return ids

    def id_of(self, at: TopicPartition) -> int:
        """Raises BrokerError without such a partition."""
        ids = self.ids(at.topic)
        if not ids:
            raise no_topic(at.topic)
        if not 0 <= at.partition < len(ids):
            raise BrokerError(
                f"The topic {at.topic} has {len(ids)} partitions, so there is no number {at.partition}."
            )
        return ids[at.partition]

    def ensure(self, specs: Collection[TopicSpec]) -> None:
        """Create what is missing. Raises BrokerError for a topic with fewer partitions than asked for."""
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


def no_topic(topic: str) -> BrokerError:
    return BrokerError(f"There is no topic {topic}: create it, or look for a typing error in its name.")
