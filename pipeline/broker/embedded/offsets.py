"""The committed offsets of an embedded broker. The methods run in the database's thread."""

from collections.abc import Collection, Mapping
from itertools import chain

from ..base import TopicPartition
from .database import Database
from .topics import Topics


class CommittedOffsets:
    """The next offset to read, of each consumer group and partition."""

    def __init__(self, database: Database, topics: Topics) -> None:
        self._database = database
        self._topics = topics

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        upsert = f"INSERT OR REPLACE INTO committed VALUES {', '.join(['(?, ?, ?)'] * len(offsets))}"
        rows = ((group, self._topics.id_of(at), offset) for at, offset in offsets.items())
        self._database.connection.execute(upsert, list(chain.from_iterable(rows)))

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int | None]:
        select = "SELECT next_offset FROM committed WHERE consumer_group = ? AND partition = ?"
        execute = self._database.connection.execute
        rows = {at: execute(select, [group, self._topics.id_of(at)]).fetchone() for at in partitions}
        return {at: row[0] if row else None for at, row in rows.items()}
