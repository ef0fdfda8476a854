"""Removes what no alias has named for long, also beside publishers and promoters, and wherever it is killed."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct

from ..faults import UnknownRelease
from .layout import OBJECTS, object_path, release_path
from .rollout_files import FIGURES
from .storage.folder_storage import PART
from .storage.storage import FileThere
from .store import ReleaseStore
from .trash import Trash

KEPT_STATES: Final = 10
GRACE_S: Final = 24 * 3600.0
"""How old a file must be: a publisher may be between its objects and its manifest."""


class Collected(Struct, frozen=True):
    """What was removed, or would be."""

    releases: tuple[str, ...]  # TASK@VERSION
    objects: int
    size_bytes: int
    kept_releases: int


class Collector:
    """Collects the garbage of a registry; `trash` says why that is safe.

    Args:
        keep: of how many states of each alias all versions are kept; also of an older one that is present.
        grace_s: what is younger is kept.
    """

    def __init__(
        self,
        store: ReleaseStore,
        keep: int = KEPT_STATES,
        grace_s: float = GRACE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._keep = max(keep, 1)
        self._grace_s = grace_s
        self._clock = clock
        self._trash = Trash(store.storage, clock)

    def collect(self, *, dry_run: bool = False) -> Collected:
        """Remove releases that no alias names within the kept history, then objects that no release has.

        Raises RegistryError, and BadRelease for a history or a manifest that cannot be read: what it names is not
        known, so nothing is removed.
        """
        if not dry_run:
            self._restore()
        releases = self._unnamed()
        named = self._objects_of(self._all() - set(releases))
        with self._store.reached():
            files = [file for file in self._store.storage.files(OBJECTS) if self._is_old(file.modified)]
        objects = [file for file in files if file.path not in named and _is_object(file.path)]
        if not dry_run:
            self._throw(release_path(*name) for name in releases)
            self._throw(file.path for file in objects)
            self._restore()
            self._purge()
        return Collected(
            tuple(f"{task}@{version}" for task, version in releases),
            len(objects),
            sum(file.size_bytes for file in objects),
            len(self._all() - set(releases)),
        )

    def kept(self) -> set[tuple[str, str]]:
        """The releases that the last states of an alias name, each by task and version."""
        kept = set()
        for task in self._store.tasks_with_aliases():
            for alias in self._store.aliases(task):
                for state in self._store.history(task, alias)[-self._keep :]:
                    kept |= {(task, version) for version in state.versions}
        return kept

    def _all(self) -> set[tuple[str, str]]:
        return {(task, version) for task in self._store.tasks() for version in self._store.versions(task)}

    def _unnamed(self) -> list[tuple[str, str]]:
        """The old releases that no alias names."""
        kept = self.kept()
        unnamed = []
        for task, version in sorted(self._all() - kept):
            with self._store.reached():
                found = self._store.storage.stat(release_path(task, version))
            if found and self._is_old(found.modified):
                unnamed.append((task, version))
        return unnamed

    def _objects_of(self, releases: Iterable[tuple[str, str]]) -> set[str]:
        """The paths of the objects of these releases.

        One may be gone by now: another collection has removed it, and restores it with its objects if it is named.
        """
        paths = set()
        for name in sorted(releases):
            with suppress(UnknownRelease):
                paths |= {object_path(file.sha256) for file in self._store.release(*name).files.values()}
        return paths

    def _throw(self, paths: Iterable[str]) -> None:
        with self._store.reached():
            for path in paths:
                self._trash.throw(path)

    def _restore(self) -> None:
        """Take back what is named again, or was when an earlier collection was killed."""
        kept = self.kept()
        missing = sorted(kept - self._all())
        with self._store.reached():
            for name in missing:
                self._trash.restore(release_path(*name))
            thrown = {removed.path for removed in self._trash.files()}
        if not thrown:
            return
        named = self._objects_of(self._all() - set(self._unnamed()))
        with self._store.reached():
            for path in sorted(thrown & named):
                self._trash.restore(path)

    def _purge(self) -> None:
        """Remove what has been in the trash for long, what a writer left that was killed, and old figures."""
        figures = list(self._old_figures())
        with self._store.reached():
            for path in figures:
                self._store.storage.remove(path)
            storage = self._store.storage
            for removed in list(self._trash.files()):
                if self._is_old(removed.at):
                    storage.remove(removed.place)
            for file in list(storage.files("")):
                if file.path.endswith(PART) and file.modified <= self._clock() - max(self._grace_s, GRACE_S):
                    storage.remove(file.path)

    def _old_figures(self) -> Iterator[str]:
        """The files of rollouts that began before the kept states of their alias, but the last one of each."""
        found: dict[str, list[FileThere]] = {}
        with self._store.reached():
            for file in self._store.storage.files(FIGURES):
                found.setdefault(file.path.rpartition("/")[0], []).append(file)
        last = {folder.rpartition("/")[0]: folder for folder in sorted(found)}
        for task in self._store.tasks_with_aliases():
            for alias in self._store.aliases(task):
                above = f"{FIGURES}/{task}/{alias}"
                first = f"{above}/{self._store.history(task, alias)[-self._keep :][0].number:08}"
                for folder in sorted(found):
                    if folder.startswith(f"{above}/") and folder < first and folder != last[above]:
                        yield from (file.path for file in found[folder] if self._is_old(file.modified))

    def _is_old(self, modified: float) -> bool:
        return modified <= self._clock() - self._grace_s


def _is_object(path: str) -> bool:
    return object_path(path.rpartition("/")[2]) == path
