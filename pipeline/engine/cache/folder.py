"""The folder of the disk cache. Several processes share it; whichever finds it broken begins a new one beside it."""

import logging
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from filelock import FileLock

from ...models.files import publish

log = logging.getLogger(__name__)

T = TypeVar("T")

LOCK_S: Final = 5.0
"""How long to wait for another process that opens the cache: it takes milliseconds."""

NOT_AT_FAULT: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class CacheFolder:
    """``answers`` below the directory of the user's: a folder for each time that the cache began anew, and the name
    of the one in use.

    A path is never used twice: SQLite deletes its side files by name, so a process that closes what another has
    replaced in its place would delete the other's.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._root = directory, directory / "answers"
        self._name = self._root / "current"

    def open(self, open_files: Callable[[Path], T], broken: Path | None) -> tuple[Path, T]:
        """Open what all processes use; begin anew where that is ``broken``, or breaks while it is opened.

        Raises whatever keeps this process from it, be it a full disk or a missing right: then nothing is deleted.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        # Beside the folder: who deletes the folder must not let two in at once.
        with FileLock(self._directory / "answers.lock", timeout=LOCK_S):
            current = self._current()
            if current is not None and current != broken:
                try:
                    return current, open_files(current)
                except Exception as error:
                    if not is_broken(error):
                        raise
                    log.warning("The cache in %s cannot be opened (%s): it is made anew.", current, error)
            return self._begin(open_files)

    def _current(self) -> Path | None:
        """The folder in use; none where its name is missing or garbled."""
        with suppress(OSError, ValueError):
            name = uuid.UUID(hex=self._name.read_text("ascii")).hex
            return self._root / name
        return None

    def _begin(self, open_files: Callable[[Path], T]) -> tuple[Path, T]:
        path = self._root / uuid.uuid4().hex
        part = self._name.with_suffix(".part")
        try:
            files = open_files(path)
            part.write_text(path.name, "ascii")
            publish(part, self._name)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        for old in set(self._root.iterdir()) - {path, self._name}:
            shutil.rmtree(old, ignore_errors=True)
            with suppress(OSError):
                old.unlink(missing_ok=True)
        return path, files


def is_broken(error: Exception) -> bool:
    """Whether the files are at fault, for everybody, and not this process or the machine."""
    return not isinstance(error, OSError) and _code(error) not in NOT_AT_FAULT


def is_locked(error: Exception) -> bool:
    """Whether another process holds the files locked."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_of_one_value(error: Exception) -> bool:
    """Whether SQLite read the files, but what they hold is not of the type that it says."""
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_OK


def _code(error: Exception) -> int:
    """SQLite's result code without its extension."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)) & 0xFF
