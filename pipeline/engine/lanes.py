"""A device: one shared session, the rows that wait for it, and the lanes that run them."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DeadlineExceeded, DeviceError, DeviceOutOfMemory, InferstreamError
from ..tasks.base import Finished, Task
from .batcher import Batcher
from .batching import Entry, Limits
from .cost import Cost, Sample, calibrate
from .flights import EXPIRED, Flight

log = logging.getLogger(__name__)

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


class Device:
    """Runs flights' rows in batches. Lanes are threads: they free the event loop, and onnxruntime frees the GIL.

    A free lane plans its own next batch, so the device does not wait for the event loop between two batches.
    """

    def __init__(
        self,
        session: Runs,
        *,
        lanes: int,
        limits: Limits,
        cost: Cost,
        cost_path: Path | None = None,
        clock: Clock,
        stopwatch: Clock,
        batcher: type[Batcher] = Batcher,
    ) -> None:
        """``stopwatch`` measures runs for the cost model: on a CPU the thread's own CPU time, else wall time."""
        self.cost, self._cost_path = cost, cost_path
        self._session, self._clock, self._stopwatch = session, clock, stopwatch
        self.batcher = batcher(cost, limits, clock, self._drop)
        self._threads = [
            threading.Thread(target=self._lane, name=f"lane-{n}", daemon=True) for n in range(lanes)
        ]
        self._landing = threading.Lock()
        self._land: Callable[[list[Flight]], None] = _ignore
        self._failed: Callable[[BaseException], None] = _ignore
        self.on_batch: Callable[[BatchStats], None] = _ignore

    def learn(self, task: Task, max_length: int) -> None:
        """Learn what shapes cost here, unless an earlier process has."""
        if not self.cost.learned:
            calibrate(
                self.cost, lambda rows, length: self._measure(task, rows, length), max_length=max_length
            )

    def _measure(self, task: Task, rows: int, length: int) -> float:
        feeds = task.collate([[0] * length] * rows)
        watch = self._stopwatch()
        self._session.run(feeds)
        return (self._stopwatch() - watch) * 1e3

    def start(self, land: Callable[[list[Flight]], None], failed: Callable[[BaseException], None]) -> None:
        """Start the lanes. ``land`` and ``failed`` are called from their threads."""
        self._land, self._failed = land, failed
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Run what waits, end the lanes, keep what was learned."""
        self.batcher.close()
        for thread in self._threads:
            thread.join()
        if self._cost_path is not None and self.cost.learned:
            try:
                self.cost.save(self._cost_path)
            except OSError as error:
                log.warning("What batches cost is not kept (%s): the next start measures it again.", error)

    def _lane(self) -> None:
        try:
            while (batch := self.batcher.take()) is not None:
                self._run(batch)
        except BaseException as error:  # a lane that dies silently would leave its requests open for ever
            self._failed(error)

    def _run(self, batch: list[Entry]) -> None:
        """Run the batch; one that fails is halved until the row at fault is alone."""
        try:
            outputs, stats = self._timed(batch)
        except InferstreamError as error:
            padded = len(batch) * max(entry.length for entry in batch)
            if isinstance(error, DeviceOutOfMemory):
                self.batcher.shrink(padded)
            if len(batch) == 1:
                self._land(_failed(batch, error))
                return
            middle = len(batch) // 2
            self._run(batch[:middle])
            self._run(batch[middle:])
            return
        self.batcher.recover()
        self.on_batch(stats)
        self._land(_finish(self._arrive(batch, outputs, stats), self._clock))

    def _timed(self, batch: list[Entry]) -> tuple[NDArray[np.float32], BatchStats]:
        began, watch = self._clock(), self._stopwatch()
        try:
            outputs = self._session.run(batch[0].owner.task.collate([entry.row for entry in batch]))[0]
        except InferstreamError:
            raise
        except MemoryError as error:
            raise DeviceOutOfMemory("There is no memory for this input: send a shorter text.") from error
        except Exception as error:
            raise DeviceError(f"The model could not run this input: {error}.") from error
        ms = (self._stopwatch() - watch) * 1e3
        rows, length = len(batch), max(entry.length for entry in batch)
        self.cost.observe(Sample(rows, length, max(ms, 1e-3)))
        return outputs, BatchStats(
            rows, sum(e.length for e in batch), rows * length, (self._clock() - began) * 1e3
        )

    def _arrive(self, batch: list[Entry], outputs: NDArray[np.float32], stats: BatchStats) -> list[Flight]:
        """Hand each row's output to its flight; those whose last row this was are complete."""
        complete = []
        with self._landing:
            began = self._clock() - stats.ms / 1e3
            for entry, output in zip(batch, outputs, strict=True):
                flight: Flight = entry.owner
                flight.outputs[id(entry)] = output
                flight.ran, flight.run_ms = began, stats.ms
                flight.shape = (stats.rows, stats.tokens, stats.padded_tokens)
                if len(flight.outputs) == len(flight.entries):
                    complete.append(flight)
        return complete

    def _drop(self, entries: list[Entry]) -> None:
        self._land(_failed(entries, DeadlineExceeded(EXPIRED)))


def _ignore(_: object) -> None:
    """Nobody listens yet."""


def _failed(entries: Iterable[Entry], error: InferstreamError) -> list[Flight]:
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
