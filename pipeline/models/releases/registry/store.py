"""A registry: objects by their digest, releases by their version, aliases by their history.

Below its root: ``objects/sha256/ab/abcd…``, ``releases/TASK/VERSION.json``, ``aliases/TASK/ALIAS/00000001.json``.
No file is ever changed. All methods block: call them in a thread.
"""

import errno
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

from ....errors import InferstreamError
from ..alias import AliasState
from ..checking import check_manifest
from ..faults import AliasChanged, BadRelease, RegistryError, UnknownRelease
from ..names import VERSION, is_alias, is_task_name
from ..release import Release, StoredFile
from .layout import ALIASES, RELEASES, alias_path, object_path, release_path
from .sealed import LIMIT, seal, unseal
from .storage.storage import Storage
from .trash import Trash

Found = TypeVar("Found")
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NUMBERED: Final = re.compile(r"([0-9]{8})\.json")


class ReleaseStore:
    """The registry at a storage. Raises RegistryError if that cannot be used."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @property
    def shown(self) -> str:
        """Its address for sentences."""
        return self.storage.shown

    def has_object(self, file: StoredFile, *, verified: bool = False) -> bool:
        """Whether there is an object of this digest and size; ``verified``: and it is that, if this is cheap to see."""
        path = object_path(file.sha256)
        with self.reached():
            found = self.storage.stat(path)
            if found is None or found.size_bytes != file.size_bytes:
                return False
            try:
                return not verified or self.storage.digest(path) in (None, file.sha256)
            except FileNotFoundError:  # removed meanwhile
                return False

    def put_object(self, file: StoredFile, source: Path) -> None:
        """Copy a local file into the registry. Raises RegistryError if it is not (any more) the one that is meant."""
        with self.reached():
            self.storage.put(object_path(file.sha256), source, file.sha256)

    def fetch_object(self, file: StoredFile, target: Path) -> None:
        """Copy an object to a new local file, which may be too short, too long or wrong.

        Raises RegistryError, OSError for a full disk here.
        """
        with self.reached(passing=FULL):
            try:
                self._there_or_thrown(
                    object_path(file.sha256), lambda path: self.storage.fetch(path, target, file.size_bytes)
                )
            except FileNotFoundError as error:
                raise RegistryError(
                    f"The registry {self.shown} lacks the object {file.sha256[:12]}…: publish the model again."
                ) from error

    def tasks(self) -> list[str]:
        """The tasks that have releases."""
        with self.reached():
            return [name for name in self.storage.names(RELEASES) if is_task_name(name)]

    def tasks_with_aliases(self) -> list[str]:
        """The tasks that have aliases."""
        with self.reached():
            return [name for name in self.storage.names(ALIASES) if is_task_name(name)]

    def versions(self, task: str) -> list[str]:
        """The versions of a task, sorted."""
        with self.reached():
            names = self.storage.names(f"{RELEASES}/{task}")
        stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [stem for stem in stems if VERSION.fullmatch(stem)]

    def release(self, task: str, version: str) -> Release:
        """A release whose manifest is right; not that it may be served. Raises UnknownRelease, BadRelease."""
        shown = f"{task}@{version}"
        if not (is_task_name(task) and VERSION.fullmatch(version)):
            raise UnknownRelease(f"{shown[:120]!r} is not the name of a version.")
        with self.reached():
            try:
                file = self._there_or_thrown(
                    release_path(task, version), lambda path: self.storage.read(path, LIMIT)
                )
            except FileNotFoundError as error:
                raise UnknownRelease(f"The registry {self.shown} has no release {shown}.") from error
            except ValueError as error:
                raise BadRelease(f"The manifest of the release {shown} is too large ({error}).") from error
        release = unseal(file, Release, f"The manifest of the release {shown}")
        check_manifest(release, task, version)
        return release

    def put_release(self, release: Release) -> bool:
        """Publish a manifest, after its objects. False: the version is there already, and stays as it is.

        A manifest that is damaged is replaced.
        """
        path = release_path(release.task, release.version)
        with self.reached():
            try:
                self.storage.create(path, seal(release))
            except FileExistsError:
                if self._is_right(release):
                    return False
                Trash(self.storage).throw(path)
                with suppress(FileExistsError):  # of another publisher
                    self.storage.create(path, seal(release))
        return True

    def restore_object(self, file: StoredFile) -> bool:
        """Take an object out of the trash. False: it is not there."""
        with self.reached():
            return Trash(self.storage).restore(object_path(file.sha256)) and self.has_object(file)

    def restore_release(self, release: Release) -> None:
        """Take a manifest out of the trash, if a collection of garbage has thrown it away."""
        path = release_path(release.task, release.version)
        with self.reached():
            if self.storage.stat(path) is None and not Trash(self.storage).restore(path):
                with suppress(FileExistsError):
                    self.storage.create(path, seal(release))

    def aliases(self, task: str) -> list[str]:
        """The aliases of a task, sorted; a folder without a state is none, its promoter was killed or had no space."""
        with self.reached():
            names = [name for name in self.storage.names(f"{ALIASES}/{task}") if is_alias(name)]
        return [name for name in names if any(self._written(task, name))]

    def alias(self, task: str, alias: str) -> AliasState:
        """The present state. Raises UnknownRelease, BadRelease for a damaged one."""
        for number in reversed(self._numbers(task, alias)):
            if state := self._state(task, alias, number):
                return state
        raise self._no_alias(task, alias)

    def history(self, task: str, alias: str) -> list[AliasState]:
        """All states, the oldest first; the last is the present one. Raises UnknownRelease, BadRelease."""
        states = [self._state(task, alias, number) for number in self._numbers(task, alias)]
        history = [state for state in states if state]
        if not history:
            raise self._no_alias(task, alias)
        return history

    def put_alias(self, task: str, alias: str, state: AliasState) -> None:
        """Add the next state. Raises AliasChanged if another promoter has added one meanwhile."""
        content = seal(state)
        path = alias_path(task, alias, state.number)
        numbers = self._numbers(task, alias)
        with self.reached():
            try:
                if numbers and numbers[-1] >= state.number:
                    raise FileExistsError(path)
                self.storage.create(path, content)
                changed = self.storage.read(path, LIMIT) != content
            except FileExistsError:
                changed = True
        if changed:
            raise AliasChanged(
                f"Another change of {task}@{alias} was faster: see `inferstream models show {task}@{alias}`, then try "
                "again."
            )

    @contextmanager
    def reached(self, passing: Collection[int] = ()) -> Iterator[None]:
        """Turns what the storage raises into RegistryError, but not system errors that are ``passing``."""
        try:
            yield
        except InferstreamError:
            raise
        except OSError as error:
            if error.errno in passing:
                raise
            reason = error.strerror or " ".join(str(error).split())[:200] or type(error).__name__
            where = f" ({error.filename})" if isinstance(error.filename, str) else ""
            raise RegistryError(f"The registry {self.shown} cannot be used: {reason}{where}.") from error
        except Exception as error:  # the packages of buckets have errors of their own
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise RegistryError(f"The registry {self.shown} cannot be used ({reason}).") from error

    def _there_or_thrown(self, path: str, read: Callable[[str], Found]) -> Found:
        """Read a file, from the trash if a collection of garbage is about to take it back, or was killed before."""
        for _ in range(3):  # it may move while it is looked for
            with suppress(FileNotFoundError):
                return read(path)
            with suppress(FileNotFoundError):
                for removed in Trash(self.storage).files(path):
                    return read(removed.place)
        return read(path)

    def _is_right(self, release: Release) -> bool:
        try:
            self.release(release.task, release.version)
        except BadRelease:
            return False
        return True

    def _numbers(self, task: str, alias: str) -> list[int]:
        if not (is_task_name(task) and is_alias(alias)):
            raise UnknownRelease(f"{f'{task}@{alias}'[:120]!r} is not the name of an alias.")
        with self.reached():
            names = self.storage.names(f"{ALIASES}/{task}/{alias}")
        return sorted(int(found[1]) for found in map(NUMBERED.fullmatch, names) if found)

    def _written(self, task: str, alias: str) -> Iterator[bool]:
        for number in self._numbers(task, alias):
            with self.reached():
                found = self.storage.stat(alias_path(task, alias, number))
            yield found is not None and found.size_bytes > 0

    def _state(self, task: str, alias: str, number: int) -> AliasState | None:
        """None for an empty file: its promoter was killed on a file system without hard links."""
        shown = f"State {number} of {task}@{alias}"
        with self.reached():
            try:
                file = self.storage.read(alias_path(task, alias, number), LIMIT)
            except ValueError as error:
                raise BadRelease(f"{shown} is too large ({error}).") from error
        if not file:
            return None
        state = unseal(file, AliasState, shown)
        if state.number != number:
            raise BadRelease(f"{shown} has the number {state.number}: it is damaged.")
        return state

    def _no_alias(self, task: str, alias: str) -> UnknownRelease:
        known = [f"{one}@{name}" for one in self.tasks_with_aliases() for name in self.aliases(one)]
        near = get_close_matches(f"{task}@{alias}", known, n=1)
        if near:
            return UnknownRelease(f"There is no alias {task}@{alias}: did you mean {near[0]!r}?")
        there = f"there is: {', '.join(known[:20])}." if known else "there are none yet."
        return UnknownRelease(f"The registry {self.shown} has no alias {task}@{alias}; {there}")
