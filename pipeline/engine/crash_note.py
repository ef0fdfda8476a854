"""What is on the device right now, written where it outlives the process: who was there when it died is suspect."""

import fcntl
import logging
import mmap
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import msgspec

from .cache.keys import DIGEST_BYTES

log = logging.getLogger(__name__)

MAX_ROWS: Final = 255
SLOT_BYTES: Final = 8 + MAX_ROWS * DIGEST_BYTES
COUNT: Final = struct.Struct("<Q")
MAX_SUSPECTS: Final = 10_000  # the oldest, which never came back, are forgotten
Stamp = tuple[int, int, int]
"""Inode, time and size of a file: it differs when the file was replaced."""

DEADLY: Final = 2
"""Processes that ended while a row was alone on the device before it is given up: one may have been chance."""


class CrashNote:
    """A small memory-mapped file with one slot a lane: the content keys of the batch that the lane runs.

    The kernel keeps what was written to the map when the process is killed, at the price of a copy for each batch;
    only a power loss forgets it, and then nothing is suspect. Suspects run alone; one that has ended `DEADLY`
    processes on its own is poison.
    """

    def __init__(self, directory: Path, lanes: int) -> None:
        """Read the notes that dead processes left in ``directory``, and begin one.

        Where that cannot be written, crashes go unnoted.
        """
        self._ledger = Ledger(directory / "suspects.json")
        self._path = directory / f"{os.getpid()}-{id(self):x}.note"
        self._writing = threading.Lock()
        self._kept = False
        self._file: IO[bytes] | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if found := list(_left_behind(directory)):
                self._accuse(found)
            self._file, self._map = _create(self._path, lanes)
        except OSError as error:
            log.warning(
                "Crashes cannot be noted (%s): a text that ends workers will not be found out.", error
            )
            self._map = mmap.mmap(-1, lanes * SLOT_BYTES)

    def running(self, lane: int, keys: Iterable[bytes]) -> None:
        """The lane is about to run these. The count comes last: a torn note counts nothing."""
        start = lane * SLOT_BYTES
        kept = b"".join(dict.fromkeys(keys))[: MAX_ROWS * DIGEST_BYTES]  # a long text's rows share their key
        self._map[start + 8 : start + 8 + len(kept)] = kept
        self._map[start : start + 8] = COUNT.pack(len(kept) // DIGEST_BYTES)

    def finished(self, lane: int) -> None:
        """The lane's batch is over, whatever came of it."""
        if self._kept:
            return
        self._map[lane * SLOT_BYTES : lane * SLOT_BYTES + 8] = COUNT.pack(0)

    def keep(self) -> None:
        """Leave what is noted to the next process, as if this one had been killed: its device is lost."""
        self._kept = True

    def is_suspect(self, key: bytes) -> bool:
        """Whether this content was on the device when a process died, of this worker or of another beside it."""
        return key in self._ledger.suspects

    def is_poison(self, key: bytes) -> bool:
        """Whether this content has ended enough processes on its own."""
        return self._ledger.suspects.get(key, 0) >= DEADLY

    def acquit(self, key: bytes) -> None:
        """The suspect ran, and the process lives."""
        with self._writing:
            suspects = self._ledger.suspects.copy()
            if suspects.pop(key, None) is not None:
                self._ledger.store(suspects)

    def close(self) -> None:
        """Nothing is on the device any more."""
        self._map.close()
        if self._file is not None:
            self._file.close()
            if not self._kept:
                self._path.unlink(missing_ok=True)

    def _accuse(self, notes: Iterable[Sequence[Sequence[bytes]]]) -> None:
        """Whoever was alone when its process died is one step nearer to being poison.

        A suspect that ran alone in its lane is to blame, and not who happened to be on another lane.
        """
        suspects = self._ledger.suspects.copy()
        for batches in notes:
            count = sum(map(len, batches))
            for keys in batches:
                for key in keys:
                    blamed = count == 1 or (len(keys) == 1 and key in suspects)
                    suspects[key] = suspects.pop(key, 0) + blamed
            log.warning("%d requests were on the device when a worker died: they run alone.", count)
        while len(suspects) > MAX_SUSPECTS:
            del suspects[next(iter(suspects))]
        self._ledger.store(suspects)


class Ledger:
    """Who is suspect, by content key, and how many processes each has ended alone: one file for a machine's workers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One attribute: a lane stores while the event loop reads, and a stamp must not outlive what it stands for.
        self._known: tuple[Stamp | None, dict[bytes, int]] = (None, {})

    @property
    def suspects(self) -> dict[bytes, int]:
        """What is stored now, whoever wrote it; where that cannot be read, what was known last. Not to be changed."""
        stamp = self._stamp()  # before it is read: what is replaced meanwhile is read again
        known_stamp, known = self._known
        if stamp != known_stamp:
            stored = self._read()
            self._known = (stamp, known if stored is None else stored)
        return self._known[1]

    def store(self, suspects: dict[bytes, int]) -> None:
        """Let these be the suspects: here in any case, elsewhere where they can be written."""
        self._known = (self._known[0], suspects)
        temporary = self._path.with_name(f"{os.getpid()}-{id(self):x}.part")
        stored = msgspec.json.encode({key.hex(): count for key, count in suspects.items()})
        try:
            temporary.write_bytes(stored)
            temporary.replace(self._path)
        except OSError as error:
            log.warning("Who is suspect cannot be stored (%s): after a restart it is not known.", error)

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


def _create(path: Path, lanes: int) -> tuple[IO[bytes], mmap.mmap]:
    # Under its name only when it is locked: a worker that starts at the same time would take it for a dead one's.
    temporary = path.with_suffix(".new")
    file = temporary.open("w+b")
    fcntl.flock(file, fcntl.LOCK_EX)  # freed by the kernel when the process ends, however it ends
    # Written, not truncated: to touch a mapped page for which the disk has no room would end the process.
    file.write(bytes(lanes * SLOT_BYTES))
    file.flush()
    temporary.replace(path)
    return file, mmap.mmap(file.fileno(), lanes * SLOT_BYTES)


def _left_behind(directory: Path) -> Iterator[list[list[bytes]]]:
    """Of each note whose process is gone the batches, if there are any; the notes are removed."""
    for path in directory.glob("*.note"):
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            if batches := list(_batches(file.read())):
                yield batches


def _batches(note: bytes) -> Iterator[list[bytes]]:
    for start in range(0, len(note) - SLOT_BYTES + 1, SLOT_BYTES):
        (count,) = COUNT.unpack_from(note, start)
        keys = note[start + 8 : start + 8 + min(count, MAX_ROWS) * DIGEST_BYTES]
        if keys:
            yield [keys[at : at + DIGEST_BYTES] for at in range(0, len(keys), DIGEST_BYTES)]
