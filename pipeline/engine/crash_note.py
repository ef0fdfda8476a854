"""Records running contents in a file that survives a crash; the contents found there are suspects."""

import fcntl
import logging
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

from .cache.keys import DIGEST_BYTES
from .suspects import SuspectFile

log = logging.getLogger(__name__)

MAX_KEYS: Final = 255
SLOT_BYTES: Final = 8 + MAX_KEYS * DIGEST_BYTES
COUNT: Final = struct.Struct("<Q")
MAX_SUSPECTS: Final = 10_000
"""Beyond this the oldest suspects are forgotten: their content was not sent again."""

POISON_CRASHES: Final = 2
"""A content is poison after this number of crashes while it ran alone: one may be chance."""


class CrashNote:
    """A memory-mapped file with a slot for each lane: the content keys of its running batch.

    When the process is killed, the kernel keeps what was written to the map; only a power loss
    forgets it. A batch costs one copy of its keys. Suspects run alone. A content is poison after
    `POISON_CRASHES` processes have died while it ran alone.
    """

    def __init__(self, directory: Path, lanes: int) -> None:
        """Read the notes of dead processes in ``directory`` and create one for this process.

        If the folder cannot be written, logs a warning: crashes then make no suspects.
        """
        self._suspects = SuspectFile(directory / "suspects.json")
        self._path = directory / f"{os.getpid()}-{id(self):x}.note"
        self._clearing = threading.Lock()
        self._kept = False
        self.died = 0
        """Of the processes that were found dead here at the start, those with requests on the device."""
        self._file: IO[bytes] | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._judge_the_dead(directory)
            self._file, self._map = _create(self._path, lanes)
            weakref.finalize(self, self._file.close)  # of a device that is never started
        except OSError as error:
            log.warning(
                "The crash note cannot be written (%s): a text that ends workers will not be found.", error
            )
            self._map = mmap.mmap(-1, lanes * SLOT_BYTES)

    def running(self, lane: int, keys: Iterable[bytes]) -> None:
        """Record that the lane is about to run these contents, the first `MAX_KEYS` of them."""
        start = lane * SLOT_BYTES
        recorded = b"".join(dict.fromkeys(keys))[
            : MAX_KEYS * DIGEST_BYTES
        ]  # rows of a long text share their key
        self._map[start + 8 : start + 8 + len(recorded)] = recorded
        # The count comes last: a slot that was half written counts nothing.
        self._map[start : start + 8] = COUNT.pack(len(recorded) // DIGEST_BYTES)

    def finished(self, lane: int) -> None:
        """Clear the lane's slot: its batch has ended, with or without an error."""
        if self._kept:
            return
        self._map[lane * SLOT_BYTES : lane * SLOT_BYTES + 8] = COUNT.pack(0)

    def keep(self) -> None:
        """Keep the note for the next process, as after a crash: the device is lost."""
        self._kept = True

    def is_suspect(self, key: bytes) -> bool:
        """Whether this content was on the device when a worker of this machine died."""
        return key in self._suspects.recent

    def is_poison(self, key: bytes) -> bool:
        """Whether `POISON_CRASHES` processes have died while this content ran alone."""
        return self._suspects.counts.get(key, 0) >= POISON_CRASHES

    def clear(self, key: bytes) -> None:
        """Remove the content from the suspects: it ran, and the process lives."""
        with self._clearing:
            if key in self._suspects.counts:
                self._suspects.change(lambda counts: counts.pop(key, None))

    def close(self) -> None:
        """Close the file and delete it, unless `keep` was called. No lane may run any more."""
        self._map.close()
        if self._file is not None:
            self._file.close()
            if not self._kept:
                self._path.unlink(missing_ok=True)

    def _judge_the_dead(self, directory: Path) -> None:
        """Add the suspects in the notes of dead processes, then delete these notes."""
        with ExitStack() as opened:
            notes = [
                (path, opened.enter_context(file).read()) for path, file in _open_notes_of_the_dead(directory)
            ]
            batches = [found for _, note in notes if (found := list(_batches(note)))]
            self.died = len(batches)
            if batches:
                self._suspects.change(partial(_add_suspects, batches))
            for path, _ in notes:
                with suppress(OSError):
                    path.unlink()
            for lanes in batches:
                log.warning(
                    "%d requests were on the device when a worker died: each will run alone.",
                    sum(map(len, lanes)),
                )


def _add_suspects(notes: Iterable[Sequence[Sequence[bytes]]], counts: dict[bytes, int]) -> None:
    """Make the contents of the notes suspects; count one more crash for those that ran alone.

    A suspect that was alone in its lane counts as alone, even if other lanes ran as well: the
    suspect is the more likely cause.
    """
    for batches in notes:
        total = sum(map(len, batches))
        for keys in batches:
            for key in keys:
                alone = total == 1 or (len(keys) == 1 and key in counts)
                counts[key] = counts.pop(key, 0) + alone
    while len(counts) > MAX_SUSPECTS:
        del counts[next(iter(counts))]


def _create(path: Path, lanes: int) -> tuple[IO[bytes], mmap.mmap]:
    # Renamed only after it is locked: a worker that starts at the same time would take it for a
    # dead process's note.
    temporary = path.with_suffix(".new")
    file = temporary.open("w+b")
    fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it when the process ends
    # Written, not truncated: touching a mapped page without room on the disk ends the process.
    file.write(bytes(lanes * SLOT_BYTES))
    file.flush()
    temporary.replace(path)
    return file, mmap.mmap(file.fileno(), lanes * SLOT_BYTES)


def _open_notes_of_the_dead(directory: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """The notes whose process is dead, locked while their file is open: one process judges each."""
    for path in directory.glob("*.note"):
        with suppress(OSError):
            file = path.open("r+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            yield path, file


def _batches(note: bytes) -> Iterator[list[bytes]]:
    for start in range(0, len(note) - SLOT_BYTES + 1, SLOT_BYTES):
        (count,) = COUNT.unpack_from(note, start)
        keys = note[start + 8 : start + 8 + min(count, MAX_KEYS) * DIGEST_BYTES]
        if keys:
            yield [keys[at : at + DIGEST_BYTES] for at in range(0, len(keys), DIGEST_BYTES)]
