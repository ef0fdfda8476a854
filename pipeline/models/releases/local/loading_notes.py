"""Notes of the versions that are being loaded and tried: one whose process is dead says that this ended it."""

import atexit
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from ....locks import lock_file
from ..faults import BadRelease
from .local import PART

log = logging.getLogger(__name__)

MAX_CRASHES: Final = 2
"""Of a version while an alias means it: one may be chance, or a user who kills the process."""

KEPT_S: Final = 6 * 3600.0
"""How long the note of a dead process counts. What ended it may have been the machine, as when its memory was full; a
version that is at fault ends eight processes a day at most."""

NOTE: Final = ".trial"


class CrashedBefore(BadRelease):
    """Loading the version has ended too many processes; removing their notes makes it pass."""


class Meant(Struct, frozen=True):
    """The state of an alias for which a version is tried; in the note."""

    alias: str
    number: int


class LoadingNotes:
    """Notes in the folder of the releases of this machine, one for each time: ``VERSION.….trial``. Blocks.

    The kernel releases the lock on a note when its process ends, whatever ends it. A process that ends in order removes
    its notes.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    @contextmanager
    def tried(self, task: str, version: str, meant: Meant) -> Iterator[None]:
        """Note that the version is loaded and tried; afterwards there is no note of it.

        Raises CrashedBefore if this ended `MAX_CRASHES` processes, for the same state of the alias.
        """
        self._check(task, version, meant)
        path = self._folder / f"{version}.{os.getpid()}.{secrets.token_hex(4)}{NOTE}"
        note: IO[bytes] | None = None
        try:
            note = _create(path, meant)
        except OSError as error:
            log.warning("Which version is tried cannot be noted: %s.", error.strerror)
        remove = partial(_remove, path)
        atexit.register(remove)
        try:
            yield
        finally:
            remove()
            atexit.unregister(remove)
            if note is not None:
                note.close()
        for dead, _ in self._of_the_dead(version):  # it is sound: the crashes had another cause
            _remove(dead)

    def _check(self, task: str, version: str, meant: Meant) -> None:
        crashes = 0
        for path, noted in self._of_the_dead(version):
            if noted is None or self._is_old(path) or _is_before(noted, meant):
                _remove(path)
            else:
                crashes += noted == meant
        if crashes >= MAX_CRASHES:
            raise CrashedBefore(
                f"{task}@{version} has ended {crashes} processes of this machine while it was loaded and tried. It is "
                f"tried again when {task}@{meant.alias} changes, after {KEPT_S / 3600:.0f} hours, or when you remove "
                f"{self._folder / f'{version}.*{NOTE}'}."
            )

    def _is_old(self, path: Path) -> bool:
        with suppress(OSError):
            return abs(self._clock() - path.stat().st_mtime) > KEPT_S  # the clock may have been set back
        return True

    def _of_the_dead(self, version: str) -> Iterator[tuple[Path, Meant | None]]:
        """The notes whose process is dead; None for one that was not written whole."""
        for path in self._folder.glob(f"{version}.*{NOTE}"):
            with suppress(OSError), path.open("rb") as file:  # BlockingIOError: its process lives
                if lock_file(file, shared=True):
                    try:
                        noted = msgspec.json.decode(file.read(), type=Meant)
                    except (msgspec.MsgspecError, UnicodeDecodeError):
                        noted = None
                    yield path, noted


def _is_before(noted: Meant, meant: Meant) -> bool:
    return noted.alias == meant.alias and noted.number < meant.number


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _create(path: Path, meant: Meant) -> IO[bytes]:
    # Named only after it is locked: a worker that starts at the same time would take it for a dead process's note.
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}{PART}")  # `collecting` removes one that is left
    file = part.open("wb")
    try:
        file.write(msgspec.json.encode(meant))
        file.flush()
        lock_file(file)
        part.replace(path)
    except OSError:
        file.close()
        part.unlink(missing_ok=True)
        raise
    return file
