"""Follows aliases while a worker serves: what an alias means now is loaded, tried, and takes the place of the old."""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ...config import RegistryConfig
from ...engine.engine import Engine
from ...errors import InferstreamError
from ...models.releases.faults import RegistryError, UnknownRelease
from ...models.releases.local.last_served import note_served
from ...models.releases.local.loading_notes import CrashedBefore, Meant
from ...telemetry import WorkerMetrics
from .eligible import EligibleReleases
from .followed import FollowedAlias, Refusal, ReleasedModels
from .opening import OpenRelease, ReleaseOpener
from .quiet_thread import in_quiet_thread
from .release_metrics import ReleaseMetrics
from .room import NoRoom

log = logging.getLogger(__name__)

PASSING: Final = (RegistryError, UnknownRelease, NoRoom, CrashedBefore, OSError)
"""Faults that may pass while the release stays as it is."""

PAUSE_S: Final = 10.0
MAX_PAUSE_S: Final = 600.0
"""Between two attempts with a release after such a fault: from the first to the second, doubled each time."""

GIVES_WAY_S: Final = 30.0
"""The longest that a release which is kept may take to end."""

CHECK_S: Final = 0.2

Use = Callable[[ReleasedModels, FollowedAlias, OpenRelease], None]


class Follower:
    """Its ``run`` stands beside the workers of a process, on the event loop; what blocks runs in a thread.

    Whatever goes wrong with a release, the worker serves on with what it has.
    """

    def __init__(
        self,
        engine: Engine,
        opener: ReleaseOpener,
        followed: Sequence[ReleasedModels],
        metrics: WorkerMetrics,
        config: RegistryConfig,
        members: EligibleReleases,
    ) -> None:
        self.followed = followed
        self._engine = engine
        self._opener = opener
        self._poll_s = config.poll_s
        self._members = members
        self._looking = asyncio.Lock()
        self._metrics = ReleaseMetrics(metrics, self.followed)

    @property
    def status(self) -> list[dict[str, Any]]:
        """Of each alias: what it means, what is served, and what was refused."""
        return [alias.status for models in self.followed for alias in models.aliases.values()]

    async def run(self) -> None:
        """Never return."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("A defect in following an alias; the worker serves on.")
            await asyncio.sleep(self._poll_s * random.uniform(0.75, 1.25))

    async def look(self) -> None:
        """Look at each alias once, and serve what it means if that can be."""
        async with self._looking:
            for models in self.followed:
                for alias in models.aliases.values():
                    await self._follow(models, alias)

    async def _follow(self, models: ReleasedModels, alias: FollowedAlias) -> None:
        name = alias.name
        try:
            state = await in_quiet_thread(partial(self._opener.state, name.task, name.alias), "registry")
        except (InferstreamError, OSError) as error:
            if not alias.unreached:
                log.warning(
                    "%s cannot be followed: %s The worker serves on with %s.",
                    name,
                    error,
                    alias.stable.version,
                )
            alias.unreached = str(error)
            return
        if alias.unreached:
            log.info("The alias %s can be followed again.", name)
            alias.unreached = ""
        changed = alias.state is None or state.number != alias.state.number
        if changed:
            alias.refusals.clear()
            alias.state = state
        await self._take_over(models, alias, changed=changed)

    async def _take_over(self, models: ReleasedModels, alias: FollowedAlias, *, changed: bool) -> None:
        """Serve the versions of the alias's state, as far as they can be served."""
        state = alias.state
        assert state is not None
        if state.stable != alias.stable.version:
            await self._open(models, alias, state.stable, self._stand)
        is_stable = state.stable == alias.stable.version
        if state.candidate is None or not is_stable:
            alias.candidate = None
        elif alias.candidate is None or alias.candidate.version != state.candidate:
            alias.candidate = None
            await self._open(models, alias, state.candidate, self._try)
        if changed:  # the candidate may be gone, or have another share
            self._exchange(models, alias)
        if is_stable:
            await self._note(alias)
        await self._free()

    def _stand(self, models: ReleasedModels, alias: FollowedAlias, opened: OpenRelease) -> None:
        """The release answers from now on."""
        before = alias.stable
        alias.stable, alias.kept = opened, before
        self._exchange(models, alias)
        self._metrics.swapped(models.task)
        log.info("%s is %s now; it was %s.", alias.name, opened.version, before.version)

    def _try(self, models: ReleasedModels, alias: FollowedAlias, opened: OpenRelease) -> None:
        """The release is on trial from now on."""
        alias.candidate = opened
        self._exchange(models, alias)
        log.info("%s@%s is on trial beside %s.", models.task, opened.version, alias.stable.version)

    def _exchange(self, models: ReleasedModels, alias: FollowedAlias) -> None:
        used = [one.version for one in (alias.stable, alias.candidate) if one]
        if alias.kept is not None and alias.kept.version in used:
            alias.kept = None
        self._engine.exchange(models.task, models.served())

    async def _open(self, models: ReleasedModels, alias: FollowedAlias, version: str, use: Use) -> None:
        """Open the release and ``use`` it; or refuse it."""
        refusal = alias.refusals.get(version)
        if refusal is not None and self._engine.clock() < refusal.again_at:
            return
        try:
            if await self._opened(models, alias, version, use):
                return
            await self._give_way(models, alias)
            await self._opened(models, alias, version, use)
        except Exception as error:  # the code of a task, and of a model, may raise anything
            self._refuse(models, alias, version, error)

    async def _opened(self, models: ReleasedModels, alias: FollowedAlias, version: str, use: Use) -> bool:
        """Open the release and use it. False if what is kept for a rollback takes the memory that it needs."""
        with self._engine.devices.held():
            try:
                opened = models.find(version) or await self._load(models, alias, version)
            except NoRoom:
                if alias.kept is None:
                    raise
                return False
            alias.refusals.pop(version, None)
            if not self._members.all_have(models.task, version):
                alias.ready = opened
                self._exchange(
                    models, alias
                )  # by the name of its version alone: the members of the group are told
                await self._members.until_all_have(models.task, version)
                alias.ready = None
            use(models, alias, opened)
        return True

    async def _give_way(self, models: ReleasedModels, alias: FollowedAlias) -> None:
        """Free what is kept for a rollback, once nothing runs on it."""
        assert alias.kept is not None
        log.info("%s@%s is kept no longer: its memory is needed.", models.task, alias.kept.version)
        device = alias.kept.entry.device
        alias.kept = None
        self._exchange(models, alias)
        ends_at = self._engine.clock() + GIVES_WAY_S
        shared = any(one.entry.device is device for other in self.followed for one in other.open())
        while (  # noqa: ASYNC110 - nothing tells when the engine stops it
            not shared and device in self._engine.devices and self._engine.clock() < ends_at
        ):
            await asyncio.sleep(CHECK_S)
        await self._engine.devices.stopped()
        await self._free()

    async def _load(self, models: ReleasedModels, alias: FollowedAlias, version: str) -> OpenRelease:
        loaded = [one for other in self.followed for one in other.open()]
        opener = self._opener
        assert alias.state is not None
        meant = Meant(alias.name.alias, alias.state.number)

        def load() -> OpenRelease:
            release = opener.find(models.task, version)
            return opener.open(models.definition, release, loaded, alias.stable, meant)

        return await in_quiet_thread(load, f"loading {models.task}@{version}")

    def _refuse(self, models: ReleasedModels, alias: FollowedAlias, version: str, error: Exception) -> None:
        before = alias.refusals.get(version)
        pause_s = min(MAX_PAUSE_S, before.pause_s * 2) if before else PAUSE_S
        passes = isinstance(error, PASSING) or not isinstance(
            error, InferstreamError
        )  # a defect may pass as well
        again_at = self._engine.clock() + pause_s if passes else math.inf
        reason = " ".join(str(error).split()) or repr(error)
        if not isinstance(error, InferstreamError | OSError):
            log.error("A defect met while %s@%s was loaded.", models.task, version, exc_info=error)
            reason = f"A defect in the code that loads it: {error!r}"
        if before is None or before.reason != reason:
            log.error(
                "%s@%s is refused, and %s stays %s: %s",
                models.task,
                version,
                alias.name,
                alias.stable.version,
                reason,
            )
            self._metrics.refused(models.task)
        alias.refusals[version] = Refusal(reason, again_at, pause_s)

    async def _note(self, alias: FollowedAlias) -> None:
        if alias.noted == alias.stable.version:
            return
        alias.noted = alias.stable.version
        try:
            await in_quiet_thread(
                partial(note_served, self._opener.local.folder, alias.name, alias.noted), "noting a version"
            )
        except OSError as error:
            log.warning("Which version is served cannot be remembered: %s.", error.strerror)

    async def _free(self) -> None:
        """Let the opener free what it has opened and what runs no more."""
        running = list(self._engine.devices)
        await in_quiet_thread(partial(self._opener.forget, running), "freeing releases")
