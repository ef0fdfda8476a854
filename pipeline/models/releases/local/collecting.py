"""Removes releases from this machine that no alias names any more; a worker that needs one again fetches it."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from ....home import home_folder
from ....locks import lock_file
from ..faults import BadRelease
from ..names import VERSION
from ..registry.collecting import GRACE_S
from ..registry.layout import OBJECTS
from .local import PART, RELEASES_HERE, lock_of, read_own


class LocallyCollected(Struct, frozen=True):
    """What was removed, or would be."""

    versions: tuple[str, ...]
    size_bytes: int


class LocalCollector:
    """Removes release folders that have not been used for a day, and objects that no folder shares.

    Args:
        kept: the releases to keep, each by task and version.
    """

    def __init__(
        self,
        kept: Collection[tuple[str, str]],
        home: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kept = kept
        self._home = home or home_folder()
        self._clock = clock

    def collect(self, *, dry_run: bool = False) -> LocallyCollected:
        """Remove them. A release that another process lays out at this moment stays."""
        folders = [
            folder for folder in sorted((self._home / RELEASES_HERE).glob("*")) if self._is_unused(folder)
        ]
        going = Counter(
            found.stat().st_ino for folder in folders for found in folder.rglob("*") if found.is_file()
        )
        if not dry_run:
            for folder in folders:
                self._remove(folder)
        objects = [path for path in self._objects() if _is_free(path, going if dry_run else Counter())]
        size_bytes = sum(path.stat().st_size for path in objects)
        if not dry_run:
            for path in objects:
                path.unlink(missing_ok=True)
            self._remove_parts()
        return LocallyCollected(tuple(folder.name for folder in folders), size_bytes)

    def _is_unused(self, folder: Path) -> bool:
        if not VERSION.fullmatch(folder.name) or not self._is_old(folder):
            return False
        try:
            return (read_own(folder).task, folder.name) not in self._kept
        except (BadRelease, OSError):
            return True

    def _remove(self, folder: Path) -> None:
        """Take its name first: the release is absent then."""
        aside = folder.with_name(f".{folder.name}.gc{PART}")
        with lock_of(folder).open("ab") as file, suppress(BlockingIOError, FileNotFoundError):
            lock_file(file)
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _objects(self) -> Iterator[Path]:
        for path in (self._home / OBJECTS).glob("*/*"):
            if path.suffix != PART and self._is_old(path):
                yield path

    def _remove_parts(self) -> None:
        """What a process left that was killed."""
        for path in [
            *(self._home / OBJECTS).glob(f"*/*{PART}"),
            *(self._home / RELEASES_HERE).glob(f".*{PART}"),
        ]:
            if self._is_old(path):
                shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _is_old(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime <= self._clock() - GRACE_S
        except FileNotFoundError:
            return False


def _is_free(path: Path, going: Counter[int]) -> bool:
    """Whether no release has a link to the object, but those that go."""
    found = path.stat()
    return found.st_nlink - going[found.st_ino] <= 1
