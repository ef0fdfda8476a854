"""The disk tier of the cache: diskcache, with a thread of its own that writes."""

import contextlib
import hashlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import diskcache
from diskcache.core import MODE_PICKLE

from .folder import CacheFolder, is_broken, is_locked, is_of_one_value, is_unwritable
from .read_only import ReadOnlyCache

log = logging.getLogger(__name__)

CHECK_BYTES = 8

LOCK_TIMEOUT_S = 0.25
"""How long a read or a write waits for another process. Then it is a miss or is dropped."""

REOPEN_DELAY_S = 30.0
"""Back-off before the files are reopened after a failed reopen, or read again after a lock."""

CLOSE_TIMEOUT_S = 5.0


class PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Reads bytes only: unpickling would run code that another user may have stored."""

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
        return None if mode == MODE_PICKLE else super().fetch(mode, filename, value, read)


def _check(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=CHECK_BYTES, key=key).digest()


class Files(NamedTuple):
    """One folder of the cache, opened."""

    path: Path
    cache: diskcache.FanoutCache
    writable: bool = True


class DiskCache:
    """Stores values on disk; a failure costs speed, never an answer.

    Each value carries a checksum: a value that was changed on disk is a miss. A writer thread
    stores the values and reopens broken files, so `put` never blocks; it drops the value when 4 096
    writes are queued. The files are reopened at once after a failure, and at most once in 30 s if
    that does not help. While the disk is full or may not be written, the stored answers are read.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        *,
        shards: int = 4,
        max_queued: int = 4_096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = CacheFolder(directory)
        self._max_bytes = max_bytes
        self._shards = shards
        self._clock = clock
        self._files: Files | None = None  # written by the writer thread only, once it runs
        self._broken: Path | None = None
        self._failure: tuple[Files, Exception] | None = None
        self._open_from = -math.inf
        self._read_from = -math.inf
        self._write_from = -math.inf
        self._open()
        self._writes: queue.Queue[tuple[bytes, bytes] | None] = queue.Queue(max_queued)
        self._writer = threading.Thread(target=self._write, name="disk-cache", daemon=True)
        self._writer.start()

    def get(self, key: bytes) -> bytes | None:
        files = self._files
        if files is None or self._clock() < self._read_from:
            return None
        try:
            stored = files.cache[key]
        except KeyError:
            return None
        except Exception as error:
            self._failed(files, error)
            return None
        if not isinstance(stored, bytes) or len(stored) <= CHECK_BYTES:
            return None
        check, value = stored[:CHECK_BYTES], stored[CHECK_BYTES:]
        return value if _check(key, value) == check else None

    def put(self, key: bytes, value: bytes) -> None:
        """Queue the value for the writer thread; returns at once."""
        try:
            self._writes.put_nowait((key, _check(key, value) + value))
        except queue.Full:
            log.debug("The disk cache falls behind: an answer is not stored and will be computed again.")

    def flush(self) -> None:
        """Block until every queued write has succeeded or failed."""
        self._writes.join()

    def close(self) -> None:
        """Finish the writes, within 5 s, and close the files."""
        with contextlib.suppress(queue.Full):
            self._writes.put(None, timeout=CLOSE_TIMEOUT_S)
        self._writer.join(CLOSE_TIMEOUT_S)
        self._close_files()

    def _open_files(self, path: Path) -> diskcache.FanoutCache:
        return diskcache.FanoutCache(
            str(path),
            shards=self._shards,
            size_limit=self._max_bytes,
            timeout=LOCK_TIMEOUT_S,
            disk=PlainDisk,
            # No memory-mapped files, which a write-ahead log needs too: truncating a mapped file
            # ends the process.
            sqlite_mmap_size=0,
            sqlite_journal_mode="truncate",
            sqlite_synchronous=0,
        )

    def _close_files(self) -> None:
        if self._files is not None:
            with contextlib.suppress(Exception):
                self._files.cache.close()  # the connections of this thread: each thread has its own

    def _failed(self, files: Files, error: Exception) -> None:
        if is_locked(error):
            log.warning(
                "Another process holds the disk cache locked: it is not read for %g s.", REOPEN_DELAY_S
            )
            self._read_from = self._clock() + REOPEN_DELAY_S
        elif is_unwritable(error):
            log.warning(
                "The disk cache cannot be written (%s): it is only read for %g s.", error, REOPEN_DELAY_S
            )
            self._write_from = self._clock() + REOPEN_DELAY_S
        elif not is_of_one_value(error):
            self._failure = files, error

    def _write(self) -> None:
        while (item := self._writes.get()) is not None:
            self._store(*item)
            if self._failure is not None or self._files is None or not self._files.writable:
                self._reopen()
            self._writes.task_done()
        self._close_files()

    def _store(self, key: bytes, stored: bytes) -> None:
        files = self._files
        if files is None or not files.writable or self._clock() < self._write_from:
            return
        try:
            # If the folder was deleted, SQLite would go on writing to unlinked files.
            if not files.path.is_dir():
                raise FileNotFoundError(f"{files.path} was deleted")
            files.cache.set(key, stored)
        except Exception as error:
            self._failed(files, error)

    def _reopen(self) -> None:
        failure = self._failure
        self._failure = None
        if failure is not None and failure[0] is self._files:
            files, error = failure
            log.warning("The disk cache failed (%s): answers are computed until it is open again.", error)
            self._broken = files.path if is_broken(error) else None
            self._close_files()
            self._files = None
        if (self._files is None or not self._files.writable) and self._clock() >= self._open_from:
            self._open_from = self._clock() + REOPEN_DELAY_S
            self._open()

    def _open(self) -> None:
        try:
            files = Files(*self._folder.open(self._open_files, self._broken))
        except Exception as error:
            self._open_from = self._clock() + REOPEN_DELAY_S
            if self._files is None and is_unwritable(error):
                self._files = self._open_to_read()
            log.warning(
                "The disk cache cannot be opened (%s): %s. The next attempt is in %g s.",
                error,
                "new answers are kept in memory only" if self._files else "answers are kept in memory only",
                REOPEN_DELAY_S,
            )
        else:
            self._close_files()
            self._files = files

    def _open_to_read(self) -> Files | None:
        path = self._folder.current()
        if path is None or path == self._broken:
            return None
        try:
            return Files(path, ReadOnlyCache(path, self._shards, PlainDisk), writable=False)
        except Exception:
            return None
