"""Answers that are compared and never sent: what waits for them, and what computes them while nothing else waits."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from ...errors import InferstreamError
from ...tasks.base import is_right
from ..engine import Engine
from ..engine_answer import EngineAnswer
from ..job import Job
from ..model_entry import ModelEntry
from .trial import Trial

log = logging.getLogger(__name__)

MAX_WAITING: Final = 256
MAX_BYTES: Final = 1_000_000
MAX_AGE_S: Final = 5.0
"""What waits longer is dropped: the device has no time for it."""

PER_S: Final = 50.0
"""Comparisons that are taken in a second, beside a first burst: a limit is then judged within seconds, and a shadow of
all requests does not take all the time that the device has."""

AT_ONCE: Final = 4
"""Answers that are computed at a time."""

IDLE_S: Final = 0.01
"""None begins while requests wait longer than this for the device."""

PAUSE_S: Final = 0.01
LOWEST: Final = 2  # priority


class Comparison(NamedTuple):
    """A request whose answers are wanted. ``outputs``: those that are known, by version."""

    trial: Trial
    job: Job
    size: int
    at: float
    outputs: Mapping[str, bytes]
    label: Mapping[str, Any] | None = None


class Comparisons:
    """Computes answers of the lowest priority, some at a time. Lives on the event loop.

    What waits is bounded in number, bytes and age. ``run`` stands in the background of a worker.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: deque[Comparison] = deque()
        self._bytes = 0
        self._allowed = float(MAX_WAITING)
        self._counted_at = engine.clock()
        self._come = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more are taken now."""
        now = self._engine.clock()
        self._allowed = min(float(MAX_WAITING), self._allowed + (now - self._counted_at) * PER_S)
        self._counted_at = now
        return min(MAX_WAITING - len(self._waiting), int(self._allowed))

    def put(
        self,
        trial: Trial,
        job: Job,
        size: int,
        outputs: Mapping[str, bytes],
        label: Mapping[str, Any] | None = None,
    ) -> bool:
        """Compare the answers to this request later. ``size`` bytes are kept for it. False if there is no room."""
        size += sum(map(len, outputs.values()))
        if not self.room or self._bytes + size > MAX_BYTES:
            return False
        self._allowed -= 1
        now = self._engine.clock()
        shadow = replace(job, compares=True, priority=LOWEST, expires=now + MAX_AGE_S, waited_s=0.0)
        self._waiting.append(Comparison(trial, shadow, size, now, outputs, label))
        self._bytes += size
        self._come.set()
        return True

    async def run(self) -> None:
        """Never return."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._come.clear()
                await self._come.wait()
            while self._engine.backlog_s > IDLE_S:  # noqa: ASYNC110 - a device has no event for it
                await asyncio.sleep(PAUSE_S)
            if not self._waiting:
                continue
            one = self._waiting.popleft()
            self._bytes -= one.size
            if not one.trial.stopped and self._engine.clock() - one.at < MAX_AGE_S:
                await self._compare(one)

    async def _compare(self, one: Comparison) -> None:
        trial = one.trial
        try:
            stable = await self._output(one, trial.stable)
            candidate = await self._output(one, trial.candidate)
            if stable is None or candidate is None:
                return
            if one.label is None:
                trial.compare(stable, candidate)
            else:
                trial.figures.label(
                    stable=is_right(stable, one.label), candidate=is_right(candidate, one.label)
                )
        except InferstreamError:
            pass  # a text that no version can read, a deadline, a device that is busy: nothing is learned
        except Exception:
            log.exception("Two answers could not be compared; this is no fault of any request.")

    async def _output(self, one: Comparison, entry: ModelEntry) -> bytes | None:
        """The answer of this version; None if another one has answered, since the rollout has ended."""
        known = one.outputs.get(entry.release)
        if known is not None:
            return known
        job = replace(one.job, release=entry.release)
        found = self._engine.begin(job)
        if isinstance(found, EngineAnswer):
            return found.output if found.release == entry.release else None
        answer = await self._engine.arrive(found, job)
        if answer.release != entry.release:
            return None
        one.trial.answered(answer, found, waited_for=False)
        return answer.output
