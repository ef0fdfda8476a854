"""The work file: what was read so far, on disk, so that an interrupted audit can continue."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from ...broker.base import Record, TopicPartition
from ...errors import UsageError
from .facts import Audited, How, Kind, RequestFact

CACHE_KIB: Final = 32 * 1024
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS audited (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL, position INTEGER NOT NULL,
    UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS requests (
    identity TEXT NOT NULL, source INTEGER NOT NULL, position INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
    how TEXT NOT NULL, key BLOB, reply_topic TEXT, count INTEGER NOT NULL,
    PRIMARY KEY (identity, source, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS places ON requests (source, position);
CREATE INDEX IF NOT EXISTS keys ON requests (source, key, position) WHERE key IS NOT NULL AND how = 'first';
CREATE TABLE IF NOT EXISTS events (
    identity TEXT NOT NULL, source INTEGER NOT NULL, position INTEGER NOT NULL, timestamp_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, code TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (identity, source, position)
) WITHOUT ROWID;
CREATE TEMP TABLE aliases (given TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;
"""
NOTE_REQUEST: Final = "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
NOTE_EVENT: Final = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"
# Both parts are in the order of their primary keys, so SQLite merges them and does not sort.
ROWS: Final = """
SELECT identity, timestamp_ms, how, NULL, '', count, reply_topic, source, position FROM requests
UNION ALL SELECT identity, timestamp_ms, NULL, kind, code, number, NULL, source, position FROM events
ORDER BY identity, source, position
"""
UNKNOWN: Final = """
SELECT DISTINCT identity FROM events WHERE NOT EXISTS (SELECT 1 FROM requests WHERE requests.identity = events.identity)
"""
# An id that was sent with several keys is left out: its order is not defined.
IN_ORDER: Final = """
SELECT asked.source, asked.key, asked.position, asked.identity, asked.timestamp_ms,
    events.source, events.position, events.timestamp_ms, events.kind <> 'chunk'
FROM requests AS asked INDEXED BY keys CROSS JOIN events ON events.identity = asked.identity
WHERE asked.key IS NOT NULL AND asked.how = 'first' AND events.kind IN ('result', 'failure', 'chunk')
AND NOT EXISTS (
    SELECT 1 FROM requests AS other WHERE other.identity = asked.identity AND other.how = 'first'
    AND (other.source <> asked.source OR other.key IS NOT asked.key OR other.position < asked.position)
)
ORDER BY asked.source, asked.key, asked.position
"""


class AuditRow(NamedTuple):
    """One record of the work file: a request has ``how``, an event has ``kind``.

    ``number`` is that of an event, or the count of the requests. ``source`` is a partition of a topic,
    ``position`` an offset.
    """

    identity: str
    timestamp_ms: int
    how: How | None
    kind: Kind | None
    code: str
    number: int
    reply_topic: str | None
    source: int
    position: int


class OrderedReply(NamedTuple):
    """A reply whose order matters. A source is a partition of a topic, a position an offset.

    ``ends``: it is no chunk.
    """

    source: int
    key: bytes
    position: int
    identity: str
    timestamp_ms: int
    reply_source: int
    reply_position: int
    reply_timestamp_ms: int
    ends: bool = True


class WorkFile:
    """A work file, temporary without a path. Use it in a ``with`` block. Methods block on the disk."""

    def __init__(self, path: Path | None, name: str) -> None:
        """``name`` says what is audited. Raises UsageError for a file of another audit, or in use."""
        try:
            self._connection = sqlite3.connect(path or "", isolation_level=None, timeout=1.0)
            with ExitStack() as on_error:
                on_error.callback(self._connection.close)
                self._open(path, name)
                on_error.pop_all()
        except sqlite3.OperationalError as error:
            raise UsageError(f"Cannot use {path} as the work file ({error}): name another --work.") from error
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{path} is not the work file of an audit: name another --work.") from error
        self._sources: dict[TopicPartition, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset to read, by partition."""
        rows = self._connection.execute("SELECT topic, number, position FROM sources")
        return {TopicPartition(topic, number): position for topic, number, position in rows}

    def store(self, records: Sequence[Record], audited: Audited) -> None:
        """Store the facts of the records and the new positions in one transaction."""
        requests, events, positions = [], [], dict[int, int]()
        for record in records:
            source = self._source(TopicPartition(record.topic, record.partition))
            fact = audited.fact(record)
            positions[source] = record.offset + 1
            if fact is None or not fact.identity.startswith(audited.id_prefix):
                continue
            row = (fact.identity, source, record.offset, record.timestamp_ms)
            if isinstance(fact, RequestFact):
                requests.append((*row, fact.how, fact.key, fact.reply_topic, fact.requests))
            else:
                events.append((*row, fact.kind, fact.code, fact.number))
        with self._connection as connection:
            connection.execute("BEGIN")
            connection.executemany(NOTE_REQUEST, requests)
            connection.executemany(NOTE_EVENT, events)
            moved = [(position, source) for source, position in positions.items()]
            connection.executemany("UPDATE sources SET position = ? WHERE id = ?", moved)

    def rows(self) -> Iterator[AuditRow]:
        """All records in the order of their identities; of one identity in the order of each source."""
        return map(AuditRow._make, self._connection.execute(ROWS))

    def ordered_replies(self) -> Iterator[OrderedReply]:
        """Replies whose order matters, by partition, key and offset of their requests."""
        return map(OrderedReply._make, self._connection.execute(IN_ORDER))

    def settle(self) -> None:
        """Rename the events that name a request by its origin although it has an id, to that id."""
        with self._connection as connection:
            connection.execute("BEGIN")
            for (given,) in connection.execute(UNKNOWN):
                if identity := self._request_at(given):
                    connection.execute("INSERT OR IGNORE INTO aliases VALUES (?, ?)", (given, identity))
            select = "SELECT aliases.identity FROM aliases WHERE given = events.identity"
            connection.execute(
                f"UPDATE events SET identity = ({select}) WHERE identity IN (SELECT given FROM aliases)"
            )
            connection.execute("DELETE FROM aliases")

    def _request_at(self, origin: str) -> str | None:
        """The identity of the request record at topic/partition/offset."""
        topic, _, partition = origin.rpartition("/")[0].rpartition("/")
        offset = origin.rpartition("/")[2]
        if not (partition.isdecimal() and offset.isdecimal() and len(offset) < 19 and len(partition) < 10):
            return None
        select = """SELECT identity FROM sources JOIN requests ON source = id
            WHERE topic = ? AND number = ? AND requests.position = ?"""
        row = self._connection.execute(select, (topic, int(partition), int(offset))).fetchone()
        return str(row[0]) if row else None

    def _source(self, at: TopicPartition) -> int:
        if at not in self._sources:
            insert = "INSERT OR IGNORE INTO sources (topic, number, position) VALUES (?, ?, 0)"
            self._connection.execute(insert, at)
            select = "SELECT id FROM sources WHERE topic = ? AND number = ?"
            self._sources[at] = self._connection.execute(select, at).fetchone()[0]
        return self._sources[at]

    def _open(self, path: Path | None, name: str) -> None:
        connection = self._connection
        settings: tuple[Any, ...] = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL")
        for setting in (*settings, f"cache_size = -{CACHE_KIB}"):
            connection.execute(f"PRAGMA {setting}")
        connection.executescript(SCHEMA)
        connection.execute("INSERT INTO audited SELECT ? WHERE NOT EXISTS (SELECT 1 FROM audited)", (name,))
        ((known,),) = connection.execute("SELECT name FROM audited")
        if known != name:
            raise UsageError(
                f"{path} is the work file of an audit of {known}, not of {name}: name another --work."
            )
