"""The SQLite file below an embedded broker, and the one thread that touches it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from ...errors import BrokerError

P = ParamSpec("P")
T = TypeVar("T")

FILE_NAME: Final = "log.sqlite3"
BUSY_TIMEOUT_S: Final = 30.0
OPEN_ATTEMPTS: Final = 50
OPEN_BACKOFF_S: Final = 0.1
FILE_TIME_NS: Final = 20_000_000

# A batch's position is its partition's id shifted left by OFFSET_BITS, plus the offset of its first record: so the
# rows of a partition stand together and in order, and appending needs no index besides the table itself.
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
"""


class Database:
    """A connection that lives in a thread of its own, so that the event loop never waits for the disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedded-broker")
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._written = (0, 0)

    @property
    def connection(self) -> sqlite3.Connection:
        """To be used only in functions that `run` calls."""
        if self._connection is None:
            raise BrokerError("The embedded broker is not running: use it inside `async with`.")
        return self._connection

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in the database's thread, after all calls made before. Raises BrokerError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: self._checked(function, *args, **kwargs))

    async def open(self) -> None:
        """Open or create the file. Raises BrokerError."""
        await self.run(self._open)

    async def close(self) -> None:
        await self.run(self._close)
        self._executor.shutdown()

    def was_written(self) -> bool:
        """Whether anybody may have written since the last call; for the event loop, where a look must cost little."""
        try:
            found = (self.directory / f"{FILE_NAME}-wal").stat()
        except OSError:
            return True
        before, self._written = self._written, (found.st_mtime_ns, found.st_size)
        # File times have the resolution of the kernel's tick: a second write may follow under the same one.
        return before != self._written or time.time_ns() - found.st_mtime_ns < FILE_TIME_NS

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call."""
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(before != version)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; takes the write lock first, so that what is read inside stays true until the end."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.directory / FILE_NAME, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _use_wal(connection)
            # In WAL mode NORMAL hands each commit to the operating system, which keeps it when this process is
            # killed. Only FULL would survive a power failure as well, for an fsync of each transaction.
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

    def _checked(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except sqlite3.OperationalError as error:
            sentence = f"Cannot use the log in {self.directory} ({error}): free space or set its rights."
            raise BrokerError(sentence) from error
        except sqlite3.DatabaseError as error:
            sentence = (
                f"The log in {self.directory} is damaged ({error}): move the directory away, and start again."
            )
            raise BrokerError(sentence) from error
        except OSError as error:
            raise BrokerError(f"Cannot use the directory {self.directory}: {error.strerror}.") from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """The change of mode does not wait for another process that makes it at the same moment."""
    for attempt in range(1, OPEN_ATTEMPTS + 1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == OPEN_ATTEMPTS:
                raise
        time.sleep(OPEN_BACKOFF_S)
