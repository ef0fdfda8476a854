"""The file of suspects: contents that were on the device when a process died."""

import fcntl
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final

import msgspec

log = logging.getLogger(__name__)

LOCK_TIMEOUT_S: Final = 5.0
"""The lock is held for milliseconds. After this time a change is made without it: a lane must not wait for long."""

LOCK_POLL_S: Final = 0.005

LOOK_S: Final = 0.05
"""How old `SuspectFile.recent` may be. A worker gets the requests of one that died later than that: Kafka waits for its
heartbeats, and its successor judges its notes before it reads. To look for each request let the event loop wait for the
interpreter lock each time."""

Stamp = tuple[int, int, int]
"""Inode, modification time and size of a file: differs once the file was replaced."""


class SuspectFile:
    """Content keys, each with the number of processes that died while it ran alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One attribute, replaced whole: a lane stores while the event loop reads, and stamp and
        # content must match.
        self._known: tuple[Stamp | None, dict[bytes, int]] = (None, {})
        self._looked_at = -math.inf

    @property
    def recent(self) -> dict[bytes, int]:
        """`counts`, as they were at most `LOOK_S` ago in other processes. Read only."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S:
            return self._known[1]
        self._looked_at = now
        return self.counts

    @property
    def counts(self) -> dict[bytes, int]:
        """The stored counts, or the last known ones if the file cannot be read. Read only."""
        stamp = (
            self._stamp()
        )  # before the file is read: if it is replaced meanwhile, it is read again next time
        known_stamp, known = self._known
        if stamp != known_stamp:
            stored = self._read()
            self._known = (stamp, known if stored is None else stored)
        return self._known[1]

    def change(self, change: Callable[[dict[bytes, int]], object]) -> None:
        """Let ``change`` change the counts, and store them if they differ.

        No other process changes them meanwhile. If the file cannot be written, the counts hold in
        this process only.
        """
        with self.locked():
            stored = self._read()
            counts = dict(self._known[1] if stored is None else stored)
            before = list(counts.items())
            change(counts)
            if list(counts.items()) != before:
                self._store(counts)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other processes of this machine from changing the counts. Not reentrant.

        The folder's file system may have no locks: then a lock in the folder for temporary files
        serves, and if that has none either, nothing does.
        """
        name = blake2b(os.fsencode(self._path.absolute()), digest_size=16).hexdigest()
        places = (
            self._path.with_suffix(".lock"),
            Path(tempfile.gettempdir()) / f"inferstream-{name}.lock",
        )
        file = _lock_first(places)
        try:
            yield
        finally:
            if file is not None:
                file.close()

    def _store(self, counts: dict[bytes, int]) -> None:
        self._known = (self._known[0], counts)
        temporary = self._path.with_name(f"{os.getpid()}-{id(self):x}.part")
        stored = msgspec.json.encode({key.hex(): count for key, count in counts.items()})
        try:
            temporary.write_bytes(stored)
            temporary.replace(self._path)
        except OSError as error:
            log.warning("The suspects of a crash cannot be stored (%s): a restart forgets them.", error)

    def _stamp(self) -> Stamp | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _read(self) -> dict[bytes, int] | None:
        with suppress(OSError, msgspec.DecodeError, ValueError):
            stored = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
            return {bytes.fromhex(key): count for key, count in stored.items()}
        return None


def _lock_first(places: Iterable[Path]) -> IO[bytes] | None:
    """The first of these files that can be locked, locked until it is closed. None if none can.

    Not filelock: where there is no flock it uses a file's existence, which outlives a killed process.
    """
    end = time.monotonic() + LOCK_TIMEOUT_S
    for place in places:
        with suppress(OSError):
            file = place.open("ab")
            try:
                while not _is_locked(file) and time.monotonic() < end:
                    time.sleep(LOCK_POLL_S)
            except OSError:
                file.close()
                continue
            return file
    return None


def _is_locked(file: IO[bytes]) -> bool:
    """Try to lock the file. Raises OSError where its file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
