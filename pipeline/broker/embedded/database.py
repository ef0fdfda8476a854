"""The SQLite file of an embedded broker, and the one thread that uses it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

from ...errors import BrokerError

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

FILE_NAME: Final = "log.sqlite3"
BUSY_TIMEOUT_S: Final = 30.0
OPEN_ATTEMPTS: Final = 50
OPEN_BACKOFF_S: Final = 0.1
FILE_TIME_NS: Final = 20_000_000
"""A margin over the resolution of file times, which is one tick of the kernel's clock."""

# A batch's position is its partition's id shifted left by OFFSET_BITS, plus the offset of its first
# record. So the rows of a partition are stored together and in order, and appending needs no index
# besides the table itself.
OFFSET_BITS: Final = 40
SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    number INTEGER NOT NULL,
    retention_ms INTEGER,
    first_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS batches (
    position INTEGER PRIMARY KEY,
    records INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,
    content BLOB NOT NULL
);
CREATE TRIGGER IF NOT EXISTS appended AFTER INSERT ON batches BEGIN
    UPDATE partitions SET next_offset = next_offset + NEW.records WHERE id = NEW.position >> {OFFSET_BITS};
END;
CREATE TABLE IF NOT EXISTS committed (
    consumer_group TEXT NOT NULL,
    partition INTEGER NOT NULL REFERENCES partitions (id),
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generations (
    consumer_group TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscriptions (
    consumer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    PRIMARY KEY (consumer_group, topic)
) WITHOUT ROWID;
"""


class Database:
    """A connection with a thread of its own, so that the event loop never waits for the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedded-broker")
        self._connection: sqlite3.Connection | None = None
        self._watching: set[asyncio.Event] = set()
        self._version = 0
        self._written = (0, 0)

    @property
    def connection(self) -> sqlite3.Connection:
        """Use it only in functions that `run` calls."""
        if self._connection is None:
            raise BrokerError("The embedded broker is not running: use it inside `async with`.")
        return self._connection

    async def run(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Call the function in the database's thread, after all earlier calls. Raises BrokerError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: self._checked(function, *arguments))

    async def open(self) -> None:
        """Open or create the file. Raises BrokerError."""
        await self.run(self._open)

    async def close(self) -> None:
        await self.run(self._close)
        self._executor.shutdown()

    def watch(self, event: asyncio.Event) -> None:
        """Set ``event`` after every append, by this process or another, until `unwatch`."""
        self._watching.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        self._watching.discard(event)

    def notify(self) -> None:
        """Set all watching events: records were appended."""
        for event in self._watching:
            event.set()

    async def check_other_processes(self) -> None:
        """Notify if another process has written since the last call."""
        if self._may_have_changed() and await self.run(self._was_changed_elsewhere):
            self.notify()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Takes the write lock first, so that no other process writes inside it."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk makes SQLite roll back by itself
                connection.execute("ROLLBACK")
            raise

    def _open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.directory / FILE_NAME, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _use_wal(connection)
            # In WAL mode NORMAL hands each commit to the operating system, so it survives a kill of
            # this process. Only FULL would survive a power failure too, at the cost of an fsync per
            # transaction.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _may_have_changed(self) -> bool:
        """Whether any process may have written since the last call; cheap enough for the event loop."""
        try:
            found = (self.directory / f"{FILE_NAME}-wal").stat()
        except OSError:
            return True
        before = self._written
        self._written = (found.st_mtime_ns, found.st_size)
        # Two writes within one tick of the file clock have the same time.
        return before != self._written or time.time_ns() - found.st_mtime_ns < FILE_TIME_NS

    def _was_changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call."""
        before = self._version
        (self._version,) = self.connection.execute("PRAGMA data_version").fetchone()
        return before != self._version

    def _checked(self, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        try:
            return function(*arguments)
        except sqlite3.OperationalError as error:
            raise BrokerError(
                f"Cannot use the log in {self.directory} ({error}): "
                "free disk space, or check the file permissions."
            ) from error
        except sqlite3.DatabaseError as error:
            raise BrokerError(
                f"The log in {self.directory} is damaged ({error}): move the directory away, and start again."
            ) from error
        except OSError as error:
            raise BrokerError(f"Cannot use the directory {self.directory}: {error.strerror}.") from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode."""
    # With retries: the busy timeout does not cover this switch by two processes at the same moment.
    for attempt in range(1, OPEN_ATTEMPTS + 1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == OPEN_ATTEMPTS:
                raise
        time.sleep(OPEN_BACKOFF_S)
