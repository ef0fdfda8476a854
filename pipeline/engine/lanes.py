"""A lane: takes the next batch of a device, runs a step of it, and finishes the answers."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from ..errors import DeviceError, DeviceLost, DeviceOutOfMemory, DeviceUnavailable, InferstreamError
from ..runtime.model import Last, Model, More, Row
from .batcher import Batcher
from .batching import BatchStats, Entry
from .carried import Carried
from .cost import Cost, CostSample
from .crash_note import CrashNote
from .finishing import finish
from .flight import Flight
from .flights import fail_flights
from .lane_note import LaneNote
from .run_limit import RunLimit
from .soundness import check_count, goes_on, step_defect

Clock = Callable[[], float]


class LaneSettings(NamedTuple):
    """How many lanes a device has, and with which clocks they measure.

    ``clock`` stamps flights and compares deadlines. ``stopwatch`` measures runs for the cost model:
    on a CPU the thread's own CPU time, else wall time. A run that takes longer than ``run_timeout_s``,
    and much longer than predicted, ends the process.
    """

    lanes: int
    clock: Clock
    stopwatch: Clock
    run_timeout_s: float = 60.0


class LaneContext(NamedTuple):
    """What the lanes of one device share.

    ``outputs_lock`` guards flights whose rows run on two lanes at once. ``suspect_lock`` is held
    while a suspect runs: if two suspects were on the device when the process dies, it would be
    unclear which one ended it.
    """

    model: Model
    batcher: Batcher
    costs: Mapping[str, Cost]
    note: CrashNote | None
    clock: Clock
    stopwatch: Clock
    outputs_lock: threading.Lock
    suspect_lock: threading.Lock
    run_limit: RunLimit
    drop: Callable[[Sequence[Row]], None]
    land: Callable[[list[Flight]], None]
    tell: Callable[[list[Flight]], None]
    fail: Callable[[BaseException], None]
    on_batch: Callable[[BatchStats, str, float], None]


class Lane(threading.Thread):
    """A thread that runs one batch at a time. onnxruntime releases the GIL meanwhile.

    A free lane takes its own next batch, so the device does not wait for the event loop between two
    batches (docs/decisions/0005). Rows that take another step stay on their lane: what they keep on the
    device is not moved.
    """

    def __init__(self, number: int, shared: LaneContext) -> None:
        super().__init__(name=f"lane-{number}", daemon=True)
        self._number = number
        self._shared = shared
        self._carried = Carried()
        self._note = LaneNote(shared.note, number) if shared.note is not None else None

    def run(self) -> None:
        """Run batches until the batcher is closed."""
        try:
            while (batch := self._shared.batcher.take(self._carried)) is not None:
                if batch:
                    self._run(batch)
                elif self._note is not None:  # what it carried was dropped
                    self._note.clear()
        except BaseException as error:  # a lane that ends silently would leave its requests open forever
            self._shared.fail(error)

    def _run(self, batch: list[Entry]) -> None:
        """Run the batch. If it fails, halve it until the row at fault is alone."""
        try:
            ran = self._run_recorded(batch)
        except DeviceLost:
            raise  # no run of this process can succeed: it ends, and another worker reads the requests again
        except InferstreamError as error:
            self._handle_failure(batch, error)
            return
        if ran is None:
            return
        results, stats = ran
        phase = batch[0].phase
        self._shared.batcher.recover(phase)
        self._shared.on_batch(stats, phase, sum(entry.solo_ms for entry in batch))
        try:
            check_count(len(batch), results)
        except InferstreamError as error:  # the rows have had their step: there is no second try
            self._fail(batch, error)
            return
        self._store(batch, results, stats)

    def _handle_failure(self, batch: list[Entry], error: InferstreamError) -> None:
        if isinstance(error, DeviceOutOfMemory):
            self._shared.batcher.shrink(batch)
        # An unavailable device fails each half too: the batch fails, its requests are retried
        # later.
        unavailable = isinstance(error, DeviceUnavailable)
        if len(batch) == 1 or unavailable:
            self._fail(batch, error, survived=not unavailable)
            return
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            if runnable := self._shared.batcher.runnable(half):  # time has passed since the batch was taken
                self._run(runnable)

    def _fail(self, batch: list[Entry], error: InferstreamError, *, survived: bool = True) -> None:
        """End the flights of these rows. ``survived``: the device has run them, and the process lives."""
        flights = fail_flights(batch, error)
        self._shared.batcher.end(batch)
        self._shared.drop([entry.row for entry in batch])
        if survived:
            self._clear_suspects(flights)
        self._shared.land(flights)

    def _run_recorded(self, batch: list[Entry]) -> tuple[Sequence[Any], BatchStats] | None:
        """Run while the batch's keys are recorded: after a crash the next process reads them.

        Returns None if the row was dropped: a suspect waits until no other suspect runs, and may
        expire meanwhile.
        """
        note = self._note
        if note is None:
            return self._run_timed(batch)
        alone = batch[0].alone
        with self._shared.suspect_lock if alone else nullcontext():
            if alone and not self._shared.batcher.runnable(batch):
                return None
            note.write([entry.flight.key for entry in batch])
            try:
                results, stats = self._run_timed(batch)
            except DeviceLost:
                note.keep()
                raise
            except BaseException:
                note.clear()
                raise
            # Before the lock is released: the next suspect must be the only one that is recorded.
            if alone or not goes_on(results):
                note.clear()
            return results, stats

    def _run_timed(self, batch: list[Entry]) -> tuple[Sequence[Any], BatchStats]:
        shared = self._shared
        rows = len(batch)
        length = max(entry.length for entry in batch)
        cost = shared.costs[batch[0].phase]
        predicted_s = cost.ms(rows, length) * cost.stretch / 1e3
        began = shared.clock()
        watch = shared.stopwatch()
        shared.run_limit.begin(self._number, rows, rows * length, predicted_s)
        try:
            results = shared.model.step([entry.row for entry in batch])
        except InferstreamError:
            raise
        except MemoryError as error:
            raise DeviceOutOfMemory("There is no memory for this input: send a shorter text.") from error
        except Exception as error:
            raise DeviceError(f"The model could not run this input: {error}.") from error
        finally:
            shared.run_limit.end(self._number)
        device_ms = (shared.stopwatch() - watch) * 1e3
        computed = [max(1, entry.length - entry.row.skipped) for entry in batch]
        cost.observe(CostSample(rows, max(computed), max(device_ms, 1e-3)))
        cost.observe_outputs(entry.row for entry in batch)
        tokens = sum(computed)
        ms = (shared.clock() - began) * 1e3
        if batch[0].phase == shared.model.phases[-1]:
            return results, BatchStats(rows, tokens, rows * length, ms, device_ms=device_ms)
        kept = sum(entry.row.kept for entry in batch)
        return results, BatchStats(rows, tokens, rows * length, ms, tokens + kept, kept, device_ms)

    def _store(self, batch: list[Entry], results: Sequence[Any], stats: BatchStats) -> None:
        """Give each row's result to its flight; carry the rows on that take another step."""
        shared = self._shared
        complete: list[Flight] = []
        going_on: list[Entry] = []
        ended: list[Entry] = []
        told: list[Flight] = []
        broken: list[tuple[Entry, DeviceError]] = []
        with shared.outputs_lock:
            now = shared.clock()
            began = now - stats.ms / 1e3
            for entry, result in zip(batch, results, strict=True):
                flight = entry.flight
                entry.steps += 1
                if entry.steps == 1:
                    entry.ran_at = began
                if defect := step_defect(entry.row, result, entry.steps, shared.costs):
                    broken.append((entry, defect))
                    continue
                if isinstance(result, (More, Last)):
                    flight.add_pieces(entry, result.pieces, now)
                    told.append(flight)
                if isinstance(result, More):
                    going_on.append(entry)
                    continue
                ended.append(entry)
                if flight.add_output(entry, _output(result), now, stats):
                    complete.append(flight)
        if going_on:
            shared.batcher.carry_on(going_on)
            self._carried.put(going_on)
        shared.batcher.end(ended)
        shared.batcher.work.learn(ended)
        if told:
            shared.tell(told)
        for entry, defect in broken:
            self._fail([entry], defect)
        self._clear_suspects(complete)
        shared.land(finish(complete, shared.clock))

    def _clear_suspects(self, flights: list[Flight]) -> None:
        """Clear the suspicion: the process survived these flights."""
        if self._shared.note is not None:
            for flight in flights:
                if flight.suspect:
                    self._shared.note.clear(flight.key)


def _output(result: Any) -> Any:
    return result.output if isinstance(result, Last) else result
