"""Changes of an alias. Each reads the state, checks the version, and adds the next state: of two at once, one wins."""

import getpass
import os
import socket
from datetime import UTC, datetime

from ..alias import AliasState, Change, Rollout, finished, promoted, rolled_back, tried
from ..checking import check_servable
from ..faults import UnknownRelease
from ..names import ReleaseName
from ..release import Release
from .publishing import check_complete
from .store import ReleaseStore


def change_now(reason: str = "", *, forced: bool = False, by: str = "") -> Change:
    """A change by this user."""
    return Change(datetime.now(UTC).isoformat(timespec="seconds"), by or _user(), reason, forced)


class Promoter:
    """Changes the aliases of a registry. Raises AliasChanged if another promoter was faster, and RegistryError."""

    def __init__(self, store: ReleaseStore) -> None:
        self._store = store

    def promote(
        self, name: ReleaseName, version: str, change: Change, rollout: Rollout | None = None
    ) -> AliasState:
        """The alias means this version now, or tries it as a rollout says. A version that is stable already stays so.

        Raises UnknownRelease, BadRelease for a version that must not be served, UsageError.
        """
        release = self._usable(name.task, version)
        now = self._now(name)
        if rollout is None and now and now.stable == version and now.candidate is None:
            return now
        after = tried(now, version, rollout, change) if rollout else promoted(now, version, change)
        return self._put(name, after, release)

    def finish(self, name: ReleaseName, change: Change) -> AliasState:
        """The candidate becomes the stable version. Raises UnknownRelease, UsageError."""
        after = finished(self._store.alias(name.task, name.alias), change)
        return self._put(name, after, self._usable(name.task, after.stable))

    def roll_back(self, name: ReleaseName, change: Change, to: str | None = None) -> AliasState:
        """The candidate is dropped, or the version before is stable again. Raises UnknownRelease, UsageError."""
        after = rolled_back(self._store.history(name.task, name.alias), change, to)
        return self._put(name, after, self._usable(name.task, after.stable))

    def _now(self, name: ReleaseName) -> AliasState | None:
        try:
            return self._store.alias(name.task, name.alias)
        except UnknownRelease:
            return None

    def _usable(self, task: str, version: str) -> Release:
        release = self._store.release(task, version)
        check_servable(release)
        check_complete(self._store, release)
        return release

    def _put(self, name: ReleaseName, state: AliasState, release: Release) -> AliasState:
        self._store.put_alias(name.task, name.alias, state)
        self._store.restore_release(
            release
        )  # if a collection of garbage threw it away before it saw the state
        check_complete(self._store, release)
        return state


def _user() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without an entry
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "a user"
    return f"{user}@{socket.gethostname()}"
