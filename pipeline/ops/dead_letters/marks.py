"""Marks: which letters were handled, and how."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final, Literal, Self

import msgspec
from msgspec import Struct

from ....schemas.topics import Topics, origin
from ...broker.base import Broker, Message, Record
from ..scan import Scan

CACHE_KIB: Final = 8 * 1024
MAX_SKEW_MS: Final = 60_000
"""The clock of the operator's machine may be behind the worker's clock by this."""

Done = Literal["replayed", "purged"]


class Mark(Struct, frozen=True):
    """The value of a mark. The key of its record is topic/partition/offset of the letter."""

    done: Done
    at_ms: int


class Marks:
    """The marks of one task, in a temporary file: they may be many. Use it in a ``with`` block."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._connection.execute(
            "CREATE TABLE marks (letter TEXT PRIMARY KEY, done TEXT, at_ms INTEGER) WITHOUT ROWID"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    async def read(self, broker: Broker, topics: Topics) -> None:
        """Read all marks. Raises BrokerError."""
        if await broker.partitions(topics.dead_letters_handled) is None:
            return
        async with Scan.open(broker, [topics.dead_letters_handled]) as scan:
            async for records in scan.batches():
                self._add(records)

    def of(self, letter: Record) -> str | None:
        """How the letter was handled; None when it was not."""
        # An older mark is of another letter: the topic was deleted and created again.
        row = self._connection.execute(
            "SELECT done FROM marks WHERE letter = ? AND at_ms >= ?",
            (
                origin(letter.topic, letter.partition, letter.offset),
                letter.timestamp_ms - MAX_SKEW_MS,
            ),
        ).fetchone()
        return str(row[0]) if row else None

    def _add(self, records: Iterable[Record]) -> None:
        rows = [
            ((record.key or b"").decode(errors="replace"), _done(record.value or b""), record.timestamp_ms)
            for record in records
        ]
        with self._connection as connection:
            connection.execute("BEGIN")
            connection.executemany("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", rows)


def mark(letter: Record, topics: Topics, done: Done, clock: Callable[[], float]) -> Message:
    """The mark of a letter that is handled now; ``clock`` is the Unix time in seconds."""
    key = origin(letter.topic, letter.partition, letter.offset).encode()
    value = msgspec.json.encode(Mark(done, round(clock() * 1e3)))
    return Message(topics.dead_letters_handled, value, key)


def _done(value: bytes) -> str:
    try:
        return msgspec.json.decode(value, type=Mark).done
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "handled"
