"""Answers jobs under names that are on trial: counts, compares, and lets the stable version stand in for the other."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from ...errors import (
    DeadlineExceeded,
    DeviceError,
    DeviceOutOfMemory,
    DeviceUnavailable,
    InferstreamError,
    Overloaded,
)
from ..devices import Devices
from ..engine import Engine
from ..engine_answer import EngineAnswer
from ..flight import Flight, Follow, not_followed
from ..flight_ends import GivenBack
from ..job import Job
from .comparisons import Comparisons
from .trial import COMPUTED, Trial, is_whole

AT_FAULT = (DeviceError, DeviceOutOfMemory, DeviceUnavailable, DeadlineExceeded, Overloaded)
"""Errors of which the version may be the cause; so it may of a defect: `InferstreamError` itself, or none of ours."""


class Answering(Protocol):
    """What a handler needs of an engine."""

    clock: Callable[[], float]
    devices: Devices

    def begin(self, job: Job) -> EngineAnswer | Flight: ...

    def lookup(self, job: Job) -> EngineAnswer | None: ...

    async def arrive(self, flight: Flight, job: Job, follow: Follow = not_followed) -> EngineAnswer: ...

    async def answer(self, job: Job, follow: Follow = not_followed) -> EngineAnswer: ...


class TrialEngine:
    """An `Engine` for the handlers of a worker: jobs that are not on trial pass through."""

    def __init__(self, engine: Engine) -> None:
        self.clock = engine.clock
        self.devices = engine.devices
        self.comparisons = Comparisons(engine)
        self._engine = engine

    def trial_of(self, job: Job) -> Trial | None:
        """The trial under whose name the job asks."""
        chooser = self._engine.chooser(job)
        return chooser if isinstance(chooser, Trial) and not chooser.stopped else None

    def begin(self, job: Job) -> EngineAnswer | Flight:
        """See `Engine.begin`."""
        trial = self.trial_of(job)
        if trial is None:
            return self._engine.begin(job)
        try:
            found = self._engine.begin(job)
        except Exception as error:
            if not is_at_fault(error):
                raise
            return self._begin_instead(trial, job, error)
        if isinstance(found, EngineAnswer):
            if self._is_guarded(trial, found.release):  # what it has cached is not known to be right
                return self._engine.begin(replace(job, release=trial.stable.release))
            trial.answered(found)
        else:
            found.trial = trial
        return found

    def lookup(self, job: Job) -> EngineAnswer | None:
        """See `Engine.lookup`."""
        trial = self.trial_of(job)
        found = self._engine.lookup(job)
        if trial is None or found is None:
            return found
        if self._is_guarded(trial, found.release):
            return self._engine.lookup(replace(job, release=trial.stable.release))
        trial.answered(found)
        return found

    async def arrive(self, flight: Flight, job: Job, follow: Follow = not_followed) -> EngineAnswer:
        """See `Engine.arrive`. What began under a trial that has ended is guarded, and answered instead, as before."""
        trial = flight.trial
        if not isinstance(trial, Trial) or trial.side(flight.release) is None:
            return await self._engine.arrive(flight, job, follow)
        if self._is_guarded(trial, flight.release):
            return await self._arrive_guarded(trial, flight, job, follow)
        try:
            answer = await self._engine.arrive(flight, replace(job, release=flight.release), follow)
        except Exception as error:
            if not is_at_fault(error):
                raise
            return await self._answer_instead(trial, flight, job, follow, error)
        trial.answered(answer, flight)
        self._compare_later(trial, flight, job, answer)
        return answer

    async def answer(self, job: Job, follow: Follow = not_followed) -> EngineAnswer:
        """`begin` and `arrive` in one."""
        found = self.begin(job)
        return found if isinstance(found, EngineAnswer) else await self.arrive(found, job, follow)

    def _is_guarded(self, trial: Trial, release: str) -> bool:
        return not trial.trusted and release == trial.candidate.release

    def _begin_instead(self, trial: Trial, job: Job, error: Exception) -> EngineAnswer | Flight:
        """The stable version begins what the candidate could not. Raises ``error``, or what that raises too."""
        if trial.choose(job) is trial.stable:
            trial.figures.stable.failed += 1
            raise error
        found = self._engine.begin(replace(job, release=trial.stable.release))
        trial.figures.candidate.failed += 1
        return found

    async def _answer_instead(
        self, trial: Trial, flight: Flight, job: Job, follow: Follow, error: Exception
    ) -> EngineAnswer:
        """The stable version answers where the candidate has failed: its failure counts if that succeeds.

        Raises ``error`` if the stable version has failed, no time is left, or pieces were told; else what that raises.
        """
        side = trial.side(flight.release)
        assert side is not None
        is_told = job.request.stream and bool(flight.pieces)
        if side is trial.figures.stable or is_told or isinstance(error, DeadlineExceeded):
            side.failed += 1
            raise error
        answer = await self._engine.answer(replace(job, release=trial.stable.release), follow)
        side.failed += 1
        return answer

    async def _arrive_guarded(self, trial: Trial, flight: Flight, job: Job, follow: Follow) -> EngineAnswer:
        """The candidate's answer if the stable version gives the same, else the stable one's."""
        stable_job = replace(job, release=trial.stable.release)
        other = asyncio.create_task(self._engine.answer(stable_job))
        other.add_done_callback(_retrieve)
        try:
            candidate = await self._candidate(trial, flight, job, follow)
            stable = await other
        finally:
            other.cancel()
        trial.answered(stable)
        if candidate is None or not flight.keep or candidate.release == stable.release:
            return stable
        return candidate if trial.compare(stable.output, candidate.output) or trial.trusted else stable

    async def _candidate(self, trial: Trial, flight: Flight, job: Job, follow: Follow) -> EngineAnswer | None:
        """The candidate's answer; None if it has failed."""
        try:
            answer = await self._engine.arrive(flight, replace(job, release=flight.release), follow)
        except Exception as error:
            if is_at_fault(error):
                trial.figures.candidate.failed += 1
            return None
        trial.answered(answer, flight)
        return answer

    def _compare_later(self, trial: Trial, flight: Flight, job: Job, answer: EngineAnswer) -> None:
        """Let the other version answer too, if this answer was computed and is one that is compared."""
        if (
            not flight.keep
            or answer.cache not in COMPUTED
            or not is_whole(job)
            or not trial.side(answer.release)
        ):
            return
        is_candidate = answer.release == trial.candidate.release
        if is_candidate or (trial.rollout.mode == "shadow" and trial.takes(job)):
            self.comparisons.put(trial, job, flight.size, {answer.release: answer.output})


def is_at_fault(error: Exception) -> bool:
    """Whether the version that answers may have caused the error, and not the request."""
    if isinstance(error, GivenBack):  # the answer is not read
        return False
    is_ours = isinstance(error, InferstreamError)
    return isinstance(error, AT_FAULT) or type(error) is InferstreamError or not is_ours


def _retrieve(task: "asyncio.Task[EngineAnswer]") -> None:
    """An error that is not awaited any more is no defect."""
    if not task.cancelled():
        task.exception()
