"""A candidate beside the stable version: which of them answers, and what is counted of them."""

from typing import Final, NamedTuple

from ...models.releases.alias import Rollout
from ...rollouts.choice import takes_candidate
from ...rollouts.figures import RolloutFigures, SideFigures, answer
from ...rollouts.histogram import count_value
from ...rollouts.yardstick import Yardstick
from ...tasks.base import agree
from ..batching import BatchStats
from ..engine_answer import EngineAnswer
from ..flight import Flight
from ..job import Job
from ..model_entry import ModelEntry

COMPUTED: Final = ("miss", "off")


class TrialName(NamedTuple):
    """The state of an alias that began the trial."""

    task: str
    alias: str
    number: int
    began_at: str = ""  # ISO 8601, UTC


class Trial:
    """Stands for both versions under the name of the alias, see `Chooser`. Lives on the event loop.

    Attributes:
        begun: whether the candidate answers. If workers ended while it ran, that is shared before it runs again.
        figures: what this process has counted.
        stopped: why the candidate answers no more; empty while it is on trial.
        trusted: in mode "guarded", whether enough answers agree: then those of the candidate are sent.
    """

    def __init__(self, name: TrialName, rollout: Rollout, stable: ModelEntry, candidate: ModelEntry) -> None:
        self.name = name
        self.rollout = rollout
        self.stable = stable
        self.candidate = candidate
        self.entries = (stable, candidate)
        shares = candidate.device is stable.device
        self.figures = RolloutFigures(crashes=0 if shares else candidate.device.died)
        self.begun = not self.figures.crashes
        self.stopped = ""
        self._counted: BatchStats | None = None
        self._yardstick = Yardstick()
        self.trusted = rollout.mode != "guarded"

    def __str__(self) -> str:
        return f"{self.name.task}@{self.name.alias}"

    def choose(self, job: Job) -> ModelEntry:
        """The version that took the request before; else by its key."""
        if self.stopped or not self.begun or (self.rollout.mode == "shadow" and not job.compares):
            return self.stable
        if job.release == self.stable.release or (not self.trusted and not is_whole(job)):
            return self.stable
        if job.release == self.candidate.release or self.takes(job):
            return self.candidate
        return self.stable

    def takes(self, job: Job) -> bool:
        """Whether the key of the request is the candidate's."""
        return takes_candidate(job.key, self.stable.release, self.candidate.release, self.rollout.share)

    def other(self, release: str) -> ModelEntry:
        """The entry that is not of this version."""
        return self.stable if release == self.candidate.release else self.candidate

    def side(self, release: str) -> SideFigures | None:
        """The figures of a version; None if it is not on trial."""
        if release == self.stable.release:
            return self.figures.stable
        return self.figures.candidate if release == self.candidate.release else None

    def answered(self, found: EngineAnswer, flight: Flight | None = None, *, waited_for: bool = True) -> None:
        """Count an answer; ``flight`` is the one that brought it."""
        side = self.side(found.release)
        if side is None:
            return
        is_computed = found.cache in COMPUTED
        if waited_for:
            answer(side, found.timings.total_ms if is_computed else None)
        if flight is not None and is_computed and flight.steps == flight.outputs:
            self._count_cost(side, flight.batch)

    def _count_cost(self, side: SideFigures, batch: BatchStats | None) -> None:
        """What the batch took, in times of what the stable version takes for the same shape."""
        shares = self.stable.device is self.candidate.device or len(self.stable.device.costs) > 1
        if batch is None or batch is self._counted or shares:
            return
        self._counted = batch
        shape = batch.rows, batch.padded_tokens // batch.rows
        times = self._yardstick.times(*shape, batch.device_ms)
        if times is not None:
            count_value(side.cost, times)
        if side is self.figures.stable:
            self._yardstick.learn(*shape, batch.device_ms)

    def compare(self, stable: bytes, candidate: bytes) -> bool:
        """Count whether two answers to one request agree."""
        alike = agree(self.stable.task, stable, candidate)
        self.figures.compare(alike=alike)
        return alike


def is_whole(job: Job) -> bool:
    """Whether the answer is sent as one, and nothing newer may supersede the request: such answers are compared."""
    return job.request.final and not job.request.stream and not job.told
