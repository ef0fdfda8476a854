"""A device: one shared model, the rows that wait for it, and the lanes that run them."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from ..errors import DeviceLost
from ..runtime.model import RUN, HasExamples, HasMemory, Model, Row
from .batcher import Batcher
from .batching import BatchStats, Entry, Limits
from .cost import Cost, CostSample, calibrate
from .crash_note import CrashNote
from .flight import Flight
from .flights import fail_late
from .forecast import Forecast
from .lanes import Lane, LaneContext, LaneSettings
from .phase_queue import PhaseQueue
from .run_limit import RunLimit

log = logging.getLogger(__name__)


def _ignore(_: object) -> None:
    """The callback until one is set."""


class Device:
    """Runs the rows of flights in batches, on one or several lanes."""

    def __init__(
        self,
        model: Model,
        limits: Limits,
        costs: Mapping[str, Cost],
        settings: LaneSettings,
        *,
        note: CrashNote | None = None,
        batcher: type[Batcher] = Batcher,
    ) -> None:
        """``costs``: what is known of each phase of the model; ``limits`` hold for each of them."""
        self.model = model
        self.costs = costs
        self._settings = settings
        self._note = note
        phases = {phase: PhaseQueue(costs[phase], _limits_of(phase, model, limits)) for phase in model.phases}
        if isinstance(model, HasMemory):
            model.reserve(settings.lanes)
        self.batcher = batcher(phases, settings.clock, self._drop, settings.lanes)
        self._forecast = Forecast(settings.lanes)
        self._run_limit = RunLimit(settings.lanes, settings.run_timeout_s)
        self._lanes: list[Lane] = []
        self._warm = False
        self._stopped = False
        self.is_ending = False
        """Whether it stops soon: nothing may begin to use it any more. Set on the event loop."""
        self._land: Callable[[list[Flight]], None] = _ignore
        self.on_batch: Callable[[BatchStats], None] = _ignore

    def learn(self, max_length: int) -> None:
        """Measure what shapes cost on this device, unless an earlier process has stored it.

        Only for a model with one step, or one that warms up: what others cost is learned while they run.
        """
        if isinstance(self.model, HasMemory):
            self._warm_up(self.model)
        cost = self.costs.get(RUN)
        if cost is not None and not cost.learned:
            generates = any(row.given is not None for row in self._examples(1, 1))
            calibrate(cost, self._measure, max_length=max_length, generates=generates)

    def _warm_up(self, model: HasMemory) -> None:
        if self._warm:
            return
        samples: dict[str, list[CostSample]] = {phase: [] for phase in self.costs}

        def measure(phase: str, rows: int, length: int, run: Callable[[], object]) -> None:
            run()  # the first run allocates
            began = self._settings.stopwatch()
            run()
            ms = (self._settings.stopwatch() - began) * 1e3
            samples[phase].append(CostSample(rows, length, max(ms, 1e-3)))

        model.warm_up(measure)
        self._warm = True
        for phase, cost in self.costs.items():
            if samples[phase] and not cost.learned:
                cost.fit(samples[phase])

    def _measure(self, rows: int, length: int) -> CostSample:
        batch = self._examples(rows, length)
        began = self._settings.stopwatch()
        self.model.step(batch)
        ms = (self._settings.stopwatch() - began) * 1e3
        return CostSample(rows, max(row.length + row.made for row in batch), max(ms, 1e-3))

    def _examples(self, rows: int, length: int) -> Sequence[Row]:
        if isinstance(self.model, HasExamples):
            return self.model.examples(rows, length)
        return [Row([0] * length) for _ in range(rows)]

    def start(
        self,
        land: Callable[[list[Flight]], None],
        fail: Callable[[BaseException], None],
        tell: Callable[[list[Flight]], None] = _ignore,
    ) -> None:
        """Start the lanes. ``land``, ``fail`` and ``tell``, for new pieces, are called from their threads."""
        self._land = land
        context = LaneContext(
            model=self.model,
            batcher=self.batcher,
            costs=self.costs,
            note=self._note,
            clock=self._settings.clock,
            stopwatch=self._settings.stopwatch,
            outputs_lock=threading.Lock(),
            suspect_lock=threading.Lock(),
            run_limit=self._run_limit,
            drop=self._free,
            land=land,
            tell=tell,
            fail=fail,
            on_batch=self._observe,
        )
        self._lanes = [Lane(number, context) for number in range(self._settings.lanes)]
        for lane in self._lanes:
            lane.start()

    def wait_s(self, flight: Flight) -> float:
        """Predicted seconds until the flight, which is not expected yet, would land; see `Forecast.wait_s`."""
        due = flight.due(flight.queued_at)
        before_ms = self.batcher.before_ms(flight.tenant, flight.priority, due)
        blocking_ms = self.batcher.blocking_ms(before_ms)
        before_ms += self.batcher.expected.later_rows_ms(flight.size, flight.known_rows)
        wait_s = self._forecast.wait_s(before_ms, blocking_ms, busy=self.batcher.busy)
        return wait_s + self._steps_s(flight)

    def own_s(self, flight: Flight) -> float:
        """Predicted seconds of its rows but the first, and of its further steps, on a free device."""
        later_s = self._forecast.drain_s(self.batcher.expected.later_rows_ms(flight.size, flight.known_rows))
        return later_s + self._steps_s(flight)

    def _steps_s(self, flight: Flight) -> float:
        most = flight.further_steps
        return self._forecast.steps_s(self.costs[self.model.phases[-1]].steps(most, most)) if most else 0.0

    @property
    def is_running(self) -> bool:
        """Whether its lanes run."""
        return bool(self._lanes)

    @property
    def backlog_s(self) -> float:
        """Predicted seconds until all that waits now has run."""
        backlog_ms = self.batcher.backlog_ms
        return self._forecast.drain_s(backlog_ms, self.batcher.further_ms) if backlog_ms else 0.0

    @property
    def queue_s(self) -> float:
        """The same for the next steps alone: rows that run are no queue, however many steps they have left."""
        queue_ms = self.batcher.backlog_ms - self.batcher.further_ms
        return self._forecast.drain_s(queue_ms) if queue_ms > 0.0 else 0.0

    @property
    def died(self) -> int:
        """How many processes were found dead when this one began, with requests on this device."""
        return self._note.died if self._note is not None else 0

    def is_suspect(self, key: bytes) -> bool:
        """Whether this content was on the device when a process died."""
        return self._note is not None and self._note.is_suspect(key)

    def is_poison(self, key: bytes) -> bool:
        """Whether this content ended processes while it ran alone."""
        return self._note is not None and self._note.is_poison(key)

    def check(self) -> None:
        """Call it every `run_limit.TICK_S`. Raises DeviceLost for a run that does not return.

        What is on the device is then suspect, as after a crash.
        """
        try:
            self._run_limit.check()
        except DeviceLost:
            if self._note is not None:
                self._note.keep()
            raise

    def stop(self) -> None:
        """Run the waiting rows, end the lanes, store the learned cost, and free the model.

        Returns at once if a run does not return: its thread cannot be ended, and ends with the process. A second call
        does nothing.
        """
        self.batcher.close()
        if self._run_limit.exceeded or self._stopped:
            return
        self._stopped = True
        for lane in self._lanes:
            lane.join()
        # The batcher refers to this device, and it to the batcher: the garbage collector, which runs rarely in a worker
        # (serving/tuning.py), would free the memory of the model much later.
        self._lanes = []
        del self.model
        if self._note is not None:
            self._note.close()
        try:
            for cost in self.costs.values():
                cost.save()
        except OSError as error:
            log.warning(
                "The measured cost of batches cannot be stored (%s): the next start measures it again.", error
            )

    def _observe(self, batch: BatchStats, phase: str, solo_ms: float) -> None:
        # Several lanes call this; an update that is lost between them hardly changes an average.
        self._forecast.observe(batch.ms, solo_ms, further=phase != self.model.phases[0])
        self.costs[phase].observe_wall(CostSample(batch.rows, batch.padded_tokens // batch.rows, batch.ms))
        self.on_batch(batch)

    def _drop(self, entries: list[Entry]) -> None:
        self._free([entry.row for entry in entries])
        self._land(fail_late(entries))

    def _free(self, rows: Sequence[Row]) -> None:
        try:
            self.model.drop(rows)
        except Exception:
            log.exception(
                "A defect in the model: it could not free %d rows, and may keep their memory.", len(rows)
            )


def _limits_of(phase: str, model: Model, limits: Limits) -> Limits:
    """The limits of a phase, with those of the model's memory."""
    if not isinstance(model, HasMemory):
        return limits
    most = min(limits.max_rows, model.most_rows.get(phase, limits.max_rows))
    return limits._replace(max_rows=most, max_running=min(limits.max_running, model.rows), all_held=True)
