"""The folder of the disk cache, shared by several processes; one of them replaces a broken one."""

import errno
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

OPEN_TIMEOUT_S: Final = 5.0
"""How long to wait for another process that is opening the cache; that takes it milliseconds."""

NOT_BROKEN: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""SQLite's result codes whose cause is this process or the machine, not the files."""

NOT_WRITABLE: Final = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}


class CacheFolder:
    """The folder ``answers`` below ``directory``.

    It holds one folder with a random name, and a file ``current`` with this name. A path is never
    used twice: SQLite deletes its side files by name, so a process that closes replaced files would
    delete the side files of the new ones at the same path.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._root = directory / "answers"
        self._name = self._root / "current"

    def open(self, open_files: Callable[[Path], T], broken: Path | None) -> tuple[Path, T]:
        """Open the folder in use; replace it if it is ``broken`` or if opening shows that it is.

        Raises the error if the cause is this process or the machine (a full disk, a missing right);
        then nothing is deleted.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        # Beside the folder, not in it: deleting the folder must not release the lock.
        with FileLock(self._directory / "answers.lock", timeout=OPEN_TIMEOUT_S):
            current = self.current()
            if current is not None and current != broken:
                try:
                    return current, open_files(current)
                except Exception as error:
                    if not is_broken(error):
                        raise
                    log.warning(
                        "The cache in %s cannot be opened (%s): a new one replaces it.", current, error
                    )
            return self._replace(open_files)

    def current(self) -> Path | None:
        """The folder in use; None if the file with its name is missing or unreadable."""
        with suppress(OSError, ValueError):
            name = uuid.UUID(hex=self._name.read_bytes().decode()).hex
            return self._root / name
        return None

    def _replace(self, open_files: Callable[[Path], T]) -> tuple[Path, T]:
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


def is_unwritable(error: Exception) -> bool:
    """Whether the files may be good but cannot be written: a full or read-only disk, a missing right."""
    if isinstance(error, OSError):
        return error.errno in NOT_WRITABLE
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED:
        return False  # the file was deleted or moved away: it is to be opened again
    return _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}


def is_broken(error: Exception) -> bool:
    """Whether the files themselves are broken, so that every process would fail on them."""
    return not isinstance(error, OSError) and _code(error) not in NOT_BROKEN


def is_locked(error: Exception) -> bool:
    """Whether another process holds the files locked."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_of_one_value(error: Exception) -> bool:
    """Whether SQLite could read the files, but one value in them has the wrong type."""
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_OK


def _code(error: Exception) -> int:
    """SQLite's primary result code: the low byte of the extended one."""
    # On a full disk SQLite rolls back by itself; diskcache then fails at its own rollback.
    if str(error).startswith("cannot rollback") and isinstance(error.__context__, sqlite3.Error):
        error = error.__context__
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)) & 0xFF
