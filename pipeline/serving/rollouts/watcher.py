"""Judges the candidates of one task, and rolls back those that are worse than their limits."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec

from ...engine.engine import Engine
from ...engine.trials.trial import Trial, TrialName
from ...errors import InferstreamError
from ...models.releases.alias import AliasState, Change, rolled_back
from ...models.releases.faults import AliasChanged
from ...models.releases.registry.rollout_files import RolloutFiles, WorkerFigures
from ...models.releases.registry.store import ReleaseStore
from ...rollouts.figures import RolloutFigures, total
from ...rollouts.judgement import agrees_enough, breach
from ..releases.quiet_thread import in_quiet_thread

log = logging.getLogger(__name__)

JUDGED_EVERY_S: Final = 1.0
SHARED_EVERY_S: Final = 2.0
"""Between two writes of a worker's figures: one small file, and one of each other worker is read."""

AGAIN_S: Final = 10.0
"""After an error of the registry."""

LOG_S: Final = 60.0


class RolloutWatcher:
    """Its ``run`` stands in the background of a worker. Lives on the event loop; files are read in a thread.

    Each worker judges the figures of all, as far as it knows them. The first that finds a limit exceeded changes the
    alias, and the others follow. A worker that cannot reach the registry judges by what it has counted itself.

    Args:
        task: whose trials are watched.
        store: opens the registry, in a thread.
        worker: a name that no other process has.
    """

    def __init__(self, engine: Engine, task: str, store: Callable[[], ReleaseStore], worker: str) -> None:
        self._engine = engine
        self._task = task
        self._open = store
        self._worker = worker
        self._others: dict[TrialName, Sequence[WorkerFigures]] = {}
        self._shared: set[TrialName] = set()
        self._share_at = 0.0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._told_at = -LOG_S

    @property
    def trials(self) -> list[Trial]:
        """The candidates on trial, each once."""
        found = {id(one): one for one in self._engine.choosers(self._task) if isinstance(one, Trial)}
        return list(found.values())

    async def run(self) -> None:
        """Never return."""
        try:
            while True:
                try:
                    await self._look()
                except Exception:
                    log.exception("A defect in judging a rollout; the worker serves on.")
                await asyncio.sleep(JUDGED_EVERY_S)
        finally:
            for task in self._running.values():
                task.cancel()

    async def _look(self) -> None:
        trials = self.trials
        if trials and time.monotonic() >= self._share_at:
            self._begin("share", partial(self._share, trials))
        for trial in trials:
            await self._judge(trial)
            if trial.stopped:
                self._begin(str(trial), partial(self._write, trial))

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it beside the judgement, which must not wait for a registry that hangs; once at a time."""
        running = self._running.get(name)
        if running is None or running.done():
            self._running[name] = asyncio.create_task(work())

    async def _share(self, trials: Sequence[Trial]) -> None:
        """Write the own figures, read those of the other workers."""
        self._share_at = time.monotonic() + SHARED_EVERY_S
        own = {trial.name: msgspec.json.encode(trial.figures) for trial in trials}
        try:
            self._others, means = await in_quiet_thread(partial(self._exchange, own), "figures")
            self._shared |= own.keys()
            for trial in trials:
                self._stop_if_dropped(trial, means[trial.name])
        except InferstreamError as error:
            self._share_at = time.monotonic() + AGAIN_S
            self._tell("The figures of a rollout cannot be shared: %s Each worker judges by its own.", error)

    def _exchange(
        self, own: dict[TrialName, bytes]
    ) -> tuple[dict[TrialName, Sequence[WorkerFigures]], dict[TrialName, AliasState]]:
        """The figures of the other workers, and what the aliases mean now."""
        store = self._open()
        others: dict[TrialName, Sequence[WorkerFigures]] = {}
        means: dict[TrialName, AliasState] = {}
        for name, encoded in own.items():
            files = RolloutFiles(store, name.task, name.alias, name.number)
            figures = msgspec.json.decode(encoded, type=RolloutFigures)
            files.put(WorkerFigures(self._worker, now(), figures))
            others[name] = [one for one in files.read() if one.worker != self._worker]
            means[name] = store.alias(name.task, name.alias)
        return others, means

    def _stop_if_dropped(self, trial: Trial, state: AliasState) -> None:
        """Send the candidate nothing more if the alias has left it: the follower may be loading for minutes."""
        if not trial.stopped and trial.candidate.release not in (state.stable, state.candidate):
            trial.stopped = f"{trial} was changed by {state.by}"
            log.info("%s: %s answers no more, since %s.", trial, trial.candidate.release, trial.stopped)

    async def _judge(self, trial: Trial) -> None:
        """Stop the candidate if it exceeds a limit."""
        if trial.stopped:
            return
        figures = total([trial.figures, *(one.figures for one in self._others.get(trial.name, ()))])
        limits = trial.rollout.limits
        if not trial.trusted and await asyncio.to_thread(agrees_enough, figures, limits):
            trial.trusted = True
            log.info("%s: enough answers agree, so those of %s are sent.", trial, trial.candidate.release)
        found = await asyncio.to_thread(breach, figures, limits)
        if found is None:
            trial.begun = trial.begun or trial.name in self._shared
            return
        trial.stopped = found.sentence
        log.warning("%s: %s is rolled back, since %s.", trial, trial.candidate.release, found.sentence)

    async def _write(self, trial: Trial) -> None:
        """Change the alias."""
        try:
            await in_quiet_thread(partial(self._roll_back, trial), "rollback")
        except AliasChanged:
            pass  # by another worker, or a user
        except InferstreamError as error:
            self._tell("A rollback cannot be written: %s This worker keeps to the stable version.", error)
            await asyncio.sleep(AGAIN_S)

    def _roll_back(self, trial: Trial) -> None:
        """Change the alias, unless it was changed since the rollout began."""
        store = self._open()
        name = trial.name
        history = store.history(name.task, name.alias)
        if history[-1].number == name.number:
            by = f"worker {self._worker}"
            state = rolled_back(history, Change(at=now(), by=by, reason=f"Rolled back: {trial.stopped}."))
            store.put_alias(name.task, name.alias, state)

    def _tell(self, sentence: str, error: InferstreamError) -> None:
        """Log it, once a minute at most."""
        if time.monotonic() - self._told_at >= LOG_S:
            self._told_at = time.monotonic()
            log.warning(sentence, error)


def now() -> str:
    """ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
