"""The content-hash cache: a memory tier on the event loop, a disk tier beside it."""

import contextlib
import hashlib
import logging
import queue
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import diskcache
from diskcache.core import MODE_PICKLE

log = logging.getLogger(__name__)

DIGEST_BYTES = 16
CHECK_BYTES = 8

LOCKED_S = 0.25
"""How long a write waits for another process that writes; then it is dropped."""

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

    def __init__(self, most_bytes: int) -> None:
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes, self._most_bytes = 0, most_bytes

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


class DiskCache:
    """diskcache behind a writer thread. Whatever breaks costs speed, never an answer.

    Values carry a checksum: a file that was changed on disk is a miss. Writes are dropped when the disk falls behind.
    """

    def __init__(
        self, directory: Path, most_bytes: int, *, shards: int = 4, most_queued: int = 4_096
    ) -> None:
        # A folder of our own below the user's: it is deleted when its files break.
        self._directory, self._most_bytes, self._shards = directory / "answers", most_bytes, shards
        self._cache = self._open()
        self._writes: queue.Queue[tuple[bytes, bytes] | None] = queue.Queue(most_queued)
        self._writer = threading.Thread(target=self._write, name="disk-cache", daemon=True)
        self._writer.start()

    def get(self, key: bytes) -> bytes | None:
        stored = self._guarded(lambda cache: cache.get(key, retry=False))
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

    def _open(self) -> diskcache.FanoutCache | None:
        try:
            return self._open_files()
        except Exception as error:
            log.warning("The cache in %s cannot be opened (%s): it is made anew.", self._directory, error)
        shutil.rmtree(self._directory, ignore_errors=True)
        try:
            return self._open_files()
        except Exception as error:
            log.warning("There is no disk cache (%s): answers are kept in memory only.", error)
            return None

    def _open_files(self) -> diskcache.FanoutCache:
        return diskcache.FanoutCache(
            str(self._directory),
            shards=self._shards,
            size_limit=self._most_bytes,
            timeout=LOCKED_S,
            disk=PlainDisk,
        )

    def _close_files(self) -> None:
        if self._cache is not None:
            self._cache.close()

    def _write(self) -> None:
        while (item := self._writes.get()) is not None:
            key, value = item
            self._guarded(lambda cache, key=key, value=value: cache.set(key, value))  # type: ignore[misc]
            self._writes.task_done()
        self._close_files()  # each thread has connections of its own

    def _guarded(self, call: Callable[[diskcache.FanoutCache], object]) -> object:
        """The call's result, None when the files on disk are not usable; then they are made anew."""
        cache = self._cache
        if cache is None:
            return None
        try:
            return call(cache)
        except Exception as error:
            log.warning("The disk cache failed (%s): it is made anew, answers are computed meanwhile.", error)
            self._cache = self._open_again(cache)
            return None

    def _open_again(self, broken: diskcache.FanoutCache) -> diskcache.FanoutCache | None:
        with contextlib.suppress(Exception):
            broken.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        return self._open()
