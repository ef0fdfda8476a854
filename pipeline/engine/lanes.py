"""A lane: takes the next batch of a device, runs it, and hands the answers on."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, DeviceLost, DeviceOutOfMemory, DeviceUnavailable, InferstreamError
from ..tasks.base import Finished, Task
from .batcher import Batcher
from .batching import Entry
from .cost import Cost, CostSample
from .crash_note import CrashNote
from .flights import Flight

Clock = Callable[[], float]


class Runs(Protocol):
    """What a lane needs of a session: shape (rows, …) in, one output vector a row out."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]: ...


class BatchStats(NamedTuple):
    """One batch that ran, for the metrics."""

    rows: int
    tokens: int
    padded_tokens: int
    ms: float


class LaneContext(NamedTuple):
    """What the lanes of one device share.

    ``landing`` guards flights whose rows come from two lanes at once. ``solitary`` is held while a suspect runs: were
    two on the device when the process dies, nobody could tell which of them it was.
    """

    session: Runs
    batcher: Batcher
    cost: Cost
    note: CrashNote | None
    clock: Clock
    stopwatch: Clock
    landing: threading.Lock
    solitary: threading.Lock
    land: Callable[[list[Flight]], None]
    failed: Callable[[BaseException], None]
    on_batch: Callable[[BatchStats, float], None]


class Lane(threading.Thread):
    """One run at a time, in a thread: it frees the event loop, and onnxruntime frees the GIL.

    A free lane plans its own next batch, so the device does not wait for the event loop between two batches.
    """

    def __init__(self, number: int, shared: LaneContext) -> None:
        super().__init__(name=f"lane-{number}", daemon=True)
        self._number, self._shared = number, shared

    def run(self) -> None:
        """Run batches until the batcher is closed."""
        try:
            while (batch := self._shared.batcher.take()) is not None:
                self._run(batch)
        except BaseException as error:  # a lane that dies silently would leave its requests open for ever
            self._shared.failed(error)

    def _run(self, batch: list[Entry]) -> None:
        """Run the batch; one that fails is halved until the row at fault is alone."""
        try:
            ran = self._noted(batch)
        except DeviceLost:
            raise  # nothing will succeed in this process: it ends, and the requests are read again by another
        except InferstreamError as error:
            if isinstance(error, DeviceOutOfMemory):
                self._shared.batcher.shrink(len(batch) * max(entry.length for entry in batch))
            # A device that is gone fails any half as well: all of the batch is tried again later.
            gone = isinstance(error, DeviceUnavailable)
            if len(batch) == 1 or gone:
                flights = failed(batch, error)
                self._acquit([] if gone else flights)
                self._shared.land(flights)
                return
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                if kept := self._shared.batcher.swept(half):  # time has passed since the batch was taken
                    self._run(kept)
            return
        if ran is None:
            return
        outputs, stats = ran
        self._shared.batcher.recover()
        self._shared.on_batch(stats, sum(entry.solo_ms for entry in batch))
        complete = self._arrive(batch, outputs, stats)
        self._acquit(complete)
        self._shared.land(_finish(complete, self._shared.clock))

    def _noted(self, batch: list[Entry]) -> tuple[NDArray[np.float32], BatchStats] | None:
        """Run with a note of what is on the device, for whoever comes after a crash.

        None when the row was dropped: it may have waited long for other suspects.
        """
        note = self._shared.note
        if note is None:
            return self._timed(batch)
        alone = batch[0].alone
        with self._shared.solitary if alone else nullcontext():
            if alone and not self._shared.batcher.swept(batch):
                return None
            note.running(self._number, (entry.owner.key for entry in batch))
            try:
                return self._timed(batch)
            except DeviceLost:
                note.keep()  # it may have been one of these, as at a crash
                raise
            finally:
                note.finished(self._number)

    def _acquit(self, flights: list[Flight]) -> None:
        """All of their rows have run, or one has failed, and the process lives."""
        if self._shared.note is not None:
            for flight in flights:
                if flight.suspect:
                    self._shared.note.acquit(flight.key)

    def _timed(self, batch: list[Entry]) -> tuple[NDArray[np.float32], BatchStats]:
        began, watch = self._shared.clock(), self._shared.stopwatch()
        try:
            outputs = self._shared.session.run(batch[0].owner.task.collate([entry.row for entry in batch]))[0]
        except InferstreamError:
            raise
        except MemoryError as error:
            raise DeviceOutOfMemory("There is no memory for this input: send a shorter text.") from error
        except Exception as error:
            raise DeviceError(f"The model could not run this input: {error}.") from error
        ms = (self._shared.stopwatch() - watch) * 1e3
        rows, length = len(batch), max(entry.length for entry in batch)
        self._shared.cost.observe(CostSample(rows, length, max(ms, 1e-3)))
        return outputs, BatchStats(
            rows, sum(e.length for e in batch), rows * length, (self._shared.clock() - began) * 1e3
        )

    def _arrive(self, batch: list[Entry], outputs: NDArray[np.float32], stats: BatchStats) -> list[Flight]:
        """Hand each row's output to its flight; those whose last row this was are complete."""
        complete = []
        with self._shared.landing:
            began = self._shared.clock() - stats.ms / 1e3
            for entry, output in zip(batch, outputs, strict=True):
                flight: Flight = entry.owner
                flight.outputs[id(entry)] = output
                flight.ran, flight.run_ms = began, stats.ms
                flight.shape = (stats.rows, stats.tokens, stats.padded_tokens)
                if len(flight.outputs) == len(flight.entries):
                    complete.append(flight)
        return complete


def failed(entries: Iterable[Entry], error: InferstreamError) -> list[Flight]:
    # Of a flight with several rows the first error counts: it cancels the others, which are then dropped.
    flights = {id(entry.owner): entry.owner for entry in entries if entry.owner.result == b""}
    for flight in flights.values():
        flight.result = error
        flight.cancel()
    return list(flights.values())


def _finish(flights: list[Flight], clock: Clock) -> list[Flight]:
    """Turn outputs into answers, one call for each task in the batch."""
    by_task: dict[int, list[Flight]] = {}
    for flight in flights:
        by_task.setdefault(id(flight.task), []).append(flight)
    for group in by_task.values():
        for flight, result in zip(group, _answers(group[0].task, group), strict=True):
            flight.result = result
    now = clock()
    for flight in flights:
        flight.landed = now
    return flights


def _answers(task: Task, flights: list[Flight]) -> Sequence[bytes | InferstreamError]:
    finished = [
        Finished([f.outputs[id(e)] for e in f.entries], [e.length for e in f.entries], f.options)
        for f in flights
    ]
    try:
        return task.finish(finished)
    except Exception as error:
        if len(flights) == 1:
            return [DeviceError(f"The model's output could not be turned into an answer: {error!r}.")]
        return [answer for flight in flights for answer in _answers(task, [flight])]
