"""A registry: objects by their digest, releases by their version, aliases by their history.

Below its root: ``objects/sha256/ab/abcd…``, ``releases/TASK/VERSION.json``, ``aliases/TASK/ALIAS/00000001.json``.
No file is ever changed. All methods block: call them in a thread.
"""

import errno
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ...errors import InferstreamError
from .alias import AliasState
from .checking import check_manifest
from .faults import AliasChanged, BadRelease, RegistryError, UnknownRelease
from .names import VERSION, is_alias, is_task_name
from .release import Release, StoredFile
from .sealed import LIMIT, seal, unseal
from .storage import Storage

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NUMBERED: Final = re.compile(r"([0-9]{8})\.json")
OBJECTS: Final = "objects/sha256"
RELEASES: Final = "releases"
ALIASES: Final = "aliases"


class ReleaseStore:
    """The registry at a storage. Raises RegistryError if that cannot be used."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @property
    def shown(self) -> str:
        """Its address for sentences."""
        return self.storage.shown

    def has_object(self, file: StoredFile) -> bool:
        """Whether there is an object of this digest and size."""
        with self.reached():
            found = self.storage.stat(object_path(file.sha256))
        return found is not None and found.size_bytes == file.size_bytes

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
                self.storage.fetch(object_path(file.sha256), target, file.size_bytes)
            except FileNotFoundError as error:
                raise RegistryError(
                    f"The registry {self.shown} lacks the object {file.sha256[:12]}…: publish the model again."
                ) from error

    def tasks(self) -> list[str]:
        """The tasks that have releases."""
        with self.reached():
            return [name for name in self.storage.names(RELEASES) if is_task_name(name)]

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
                file = self.storage.read(release_path(task, version), LIMIT)
            except FileNotFoundError as error:
                raise UnknownRelease(f"The registry {self.shown} has no release {shown}.") from error
            except ValueError as error:
                raise BadRelease(f"The manifest of the release {shown} is too large ({error}).") from error
        release = unseal(file, Release, f"The manifest of the release {shown}")
        check_manifest(release, task, version)
        return release

    def put_release(self, release: Release) -> bool:
        """Publish a manifest, after its objects. False: the version is there already, and stays as it is."""
        with self.reached():
            try:
                self.storage.create(release_path(release.task, release.version), seal(release))
            except FileExistsError:
                return False
        return True

    def aliases(self, task: str) -> list[str]:
        """The aliases of a task, sorted."""
        with self.reached():
            return [name for name in self.storage.names(f"{ALIASES}/{task}") if is_alias(name)]

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
            raise RegistryError(f"The registry {self.shown} cannot be used: {reason}.") from error
        except Exception as error:  # the packages of buckets have errors of their own
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise RegistryError(f"The registry {self.shown} cannot be used ({reason}).") from error

    def _numbers(self, task: str, alias: str) -> list[int]:
        if not (is_task_name(task) and is_alias(alias)):
            raise UnknownRelease(f"{f'{task}@{alias}'[:120]!r} is not the name of an alias.")
        with self.reached():
            names = self.storage.names(f"{ALIASES}/{task}/{alias}")
        return sorted(int(found[1]) for found in map(NUMBERED.fullmatch, names) if found)

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
        known = [f"{one}@{name}" for one in self.tasks() for name in self.aliases(one)]
        near = get_close_matches(f"{task}@{alias}", known, n=1)
        if near:
            return UnknownRelease(f"There is no alias {task}@{alias}: did you mean {near[0]!r}?")
        there = f"there is: {', '.join(known[:20])}." if known else "there are none yet."
        return UnknownRelease(f"The registry {self.shown} has no alias {task}@{alias}; {there}")


def object_path(sha256: str) -> str:
    """Of an object, below the root."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def release_path(task: str, version: str) -> str:
    """Of a manifest, below the root."""
    return f"{RELEASES}/{task}/{version}.json"


def alias_path(task: str, alias: str, number: int) -> str:
    """Of a state, below the root."""
    return f"{ALIASES}/{task}/{alias}/{number:08}.json"
