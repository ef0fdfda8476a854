"""The content-hash cache: a memory tier on the event loop, a disk tier beside it."""

import contextlib
import hashlib
import logging
import math
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import diskcache
from diskcache.core import MODE_PICKLE

from .folder import CacheFolder, is_broken, is_locked, is_of_one_value

log = logging.getLogger(__name__)

DIGEST_BYTES = 16
CHECK_BYTES = 8

LOCKED_S = 0.25
"""How long a write, or a read, waits for another process that writes; then it is dropped."""

RETRY_S = 30.0
"""How long the disk tier is left alone after a failure that opening it again did not mend."""

CLOSING_S = 5.0


def content_prefix(tenant: str, digest: bytes, task: str, options: bytes) -> bytes:
    """All of a content key but the text, each part behind its length: ("ab", "c") and ("a", "bc") stay apart.

    ``digest`` stands for everything behind the answer: weights, graph, tokenizer, taxonomy or head.
    """
    parts = (tenant.encode("utf-8", "surrogatepass"), digest, task.encode(), options)
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def content_key(prefix: bytes, text: str) -> bytes:
    """What two requests share exactly when they must get the same answer: blake2b of a prefix and the text."""
    return hashlib.blake2b(prefix + text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


class MemoryCache:
    """Least recently used values, bounded by their bytes. For one thread."""

    ENTRY_BYTES = 250  # of a key, its hash slot and the objects' headers, as measured

    def __init__(self, max_bytes: int) -> None:
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes, self._most_bytes = 0, max_bytes

    def get(self, key: bytes) -> bytes | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        old = self._values.pop(key, None)
        self._bytes += len(value) - (len(old) if old is not None else -self.ENTRY_BYTES)
        self._values[key] = value
        while self._bytes > self._most_bytes:
            _, dropped = self._values.popitem(last=False)
            self._bytes -= len(dropped) + self.ENTRY_BYTES

    def __len__(self) -> int:
        return len(self._values)


class PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Reads bytes only: unpickling would run whatever somebody has written into the folder."""

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> object:
        return None if mode == MODE_PICKLE else super().fetch(mode, filename, value, read)


def _check(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=CHECK_BYTES, key=key).digest()


class Files(NamedTuple):
    """One folder of the cache, opened."""

    path: Path
    cache: diskcache.FanoutCache


class DiskCache:
    """diskcache behind a writer thread. Whatever breaks costs speed, never an answer.

    Values carry a checksum: a file that was changed on disk is a miss. Writes are dropped when the disk falls behind.
    Files that break are opened again by the writer, so that nobody waits for it: at once, but not twice in 30 s.
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
        self._folder, self._most_bytes, self._shards = CacheFolder(directory), max_bytes, shards
        self._clock = clock
        self._files: Files | None = None  # set by the writer alone, once it runs
        self._broken: Path | None = None
        self._failure: tuple[Files, Exception] | None = None
        self._open_from = self._read_from = -math.inf
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
        """Store soon; returns at once."""
        try:
            self._writes.put_nowait((key, _check(key, value) + value))
        except queue.Full:
            log.debug("The disk cache falls behind: an answer is not stored and will be computed again.")

    def flush(self) -> None:
        """Wait until what was put is written, or could not be."""
        self._writes.join()

    def close(self) -> None:
        """Finish the writes, within 5 s, and close the files."""
        with contextlib.suppress(queue.Full):
            self._writes.put(None, timeout=CLOSING_S)
        self._writer.join(CLOSING_S)
        self._close_files()

    def _open_files(self, path: Path) -> diskcache.FanoutCache:
        return diskcache.FanoutCache(
            str(path),
            shards=self._shards,
            size_limit=self._most_bytes,
            timeout=LOCKED_S,
            disk=PlainDisk,
            # No mapped memory, which a write-ahead log needs too: a mapped file that is cut off ends the process.
            sqlite_mmap_size=0,
            sqlite_journal_mode="truncate",
            sqlite_synchronous=0,
        )

    def _close_files(self) -> None:
        if self._files is not None:
            with contextlib.suppress(Exception):
                self._files.cache.close()  # this thread's connections: each has its own

    def _failed(self, files: Files, error: Exception) -> None:
        if is_locked(error):
            log.warning("Another process holds the disk cache locked: it is not read for %g s.", RETRY_S)
            self._read_from = self._clock() + RETRY_S
        elif not is_of_one_value(error):
            self._failure = files, error

    def _write(self) -> None:
        while (item := self._writes.get()) is not None:
            self._store(*item)
            if self._failure is not None or self._files is None:
                self._open_again()
            self._writes.task_done()
        self._close_files()

    def _store(self, key: bytes, stored: bytes) -> None:
        files = self._files
        if files is None:
            return
        try:
            # Where it was deleted, its open files would still take what nobody finds again.
            if not files.path.is_dir():
                raise FileNotFoundError(f"{files.path} was deleted")
            files.cache.set(key, stored)
        except Exception as error:
            self._failed(files, error)

    def _open_again(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None and failure[0] is self._files:
            files, error = failure
            log.warning("The disk cache failed (%s): answers are computed until it is open again.", error)
            self._broken = files.path if is_broken(error) else None
            self._close_files()
            self._files = None
        if self._files is None and self._clock() >= self._open_from:
            self._open_from = self._clock() + RETRY_S
            self._open()

    def _open(self) -> None:
        try:
            self._files = Files(*self._folder.open(self._open_files, self._broken))
        except Exception as error:
            self._open_from = self._clock() + RETRY_S
            log.warning(
                "There is no disk cache (%s): answers are kept in memory only. It is tried again after %g s.",
                error,
                RETRY_S,
            )
