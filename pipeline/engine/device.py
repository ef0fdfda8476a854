"""A device: one shared session, the rows that wait for it, and the lanes that run them."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import DeadlineExceeded
from ..tasks.base import Task
from .batcher import Batcher
from .batching import PRIORITY_DELAYS_S, Entry, Limits
from .cost import Cost, calibrate
from .crash_note import CrashNote
from .flights import EXPIRED, Flight
from .lanes import BatchStats, Clock, Lane, LaneContext, Runs, failed

log = logging.getLogger(__name__)

EWMA_WEIGHT = 0.1
"""Weight of the newest batch in how fast what waits is expected to be done."""

EXTRA_BATCHES = 2.0
"""Batches that a new row waits for besides what waits already: one that runs, and the one that it is part of."""


class Device:
    """Runs flights' rows in batches, on as many lanes as it has."""

    def __init__(
        self,
        session: Runs,
        *,
        lanes: int,
        limits: Limits,
        cost: Cost,
        cost_path: Path | None = None,
        note: CrashNote | None = None,
        clock: Clock,
        stopwatch: Clock,
        batcher: type[Batcher] = Batcher,
    ) -> None:
        """``stopwatch`` measures runs for the cost model: on a CPU the thread's own CPU time, else wall time."""
        self.cost, self._cost_path = cost, cost_path
        self._session, self._clock, self._stopwatch = session, clock, stopwatch
        self._lane_count, self._note = lanes, note
        self._lanes: list[Lane] = []
        self._pace, self._batch_ms, self._row_ms = 1.0, 0.0, 0.0
        self._land: Callable[[list[Flight]], None] = _ignore
        self.batcher = batcher(cost, limits, clock, self._drop)
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

    def start(self, land: Callable[[list[Flight]], None], fail: Callable[[BaseException], None]) -> None:
        """Start the lanes. ``land`` and ``fail`` are called from their threads."""
        self._land = land
        shared = LaneContext(
            session=self._session,
            batcher=self.batcher,
            cost=self.cost,
            note=self._note,
            clock=self._clock,
            stopwatch=self._stopwatch,
            landing=threading.Lock(),
            solitary=threading.Lock(),
            land=land,
            failed=fail,
            on_batch=self._ran,
        )
        self._lanes = [Lane(number, shared) for number in range(self._lane_count)]
        for lane in self._lanes:
            lane.start()

    def wait_s(self, priority: int, coming: int = 0) -> float:
        """Predicted seconds until a new row of this priority would have run.

        That is what waits before it, ``coming`` rows that are being prepared, and while no lane is idle the rest of
        what runs and its own batch. Of rows of lower priority those go first that have waited for all their patience.
        """
        waits_s = [self._backlog_s(level) for level in range(len(PRIORITY_DELAYS_S))]
        found_s = waits_s[priority] + self._passes_s(coming * self._row_ms)
        for level in range(priority + 1, len(PRIORITY_DELAYS_S)):
            found_s += max(
                0.0,
                waits_s[level]
                - waits_s[level - 1]
                - (PRIORITY_DELAYS_S[level] - PRIORITY_DELAYS_S[priority]),
            )
        return found_s + (EXTRA_BATCHES * self._batch_ms / 1e3 if self.batcher.busy else 0.0)

    @property
    def backlog_s(self) -> float:
        """Predicted seconds until all that waits now would have run."""
        return self._backlog_s(len(PRIORITY_DELAYS_S) - 1)

    def _backlog_s(self, priority: int) -> float:
        return self._passes_s(self.batcher.backlog_ms(priority))

    def _passes_s(self, solo_ms: float) -> float:
        """Seconds that pass while all lanes run rows which alone would cost so much."""
        return solo_ms * self._pace / self._lane_count / 1e3

    def is_suspect(self, key: bytes) -> bool:
        """Whether this content was on the device when a process died."""
        return self._note is not None and self._note.is_suspect(key)

    def is_poison(self, key: bytes) -> bool:
        """Whether this content ended processes although it was alone on the device."""
        return self._note is not None and self._note.is_poison(key)

    def stop(self) -> None:
        """Run what waits, end the lanes, keep what was learned."""
        self.batcher.close()
        for lane in self._lanes:
            lane.join()
        if self._note is not None:
            self._note.close()
        if self._cost_path is not None and self.cost.learned:
            try:
                self.cost.save(self._cost_path)
            except OSError as error:
                log.warning("What batches cost is not kept (%s): the next start measures it again.", error)

    def _ran(self, stats: BatchStats, solo_ms: float) -> None:
        """Learn how long runs take by the wall clock, beside their own cost and beside that of their rows alone."""
        self._batch_ms += EWMA_WEIGHT * (stats.ms - self._batch_ms)
        self._row_ms += EWMA_WEIGHT * (solo_ms / stats.rows - self._row_ms)
        cost_ms = self.cost.ms(stats.rows, stats.padded_tokens // stats.rows)
        self.cost.stretch += EWMA_WEIGHT * (min(stats.ms / cost_ms, 10.0) - self.cost.stretch)
        if solo_ms > 0:
            self._pace += EWMA_WEIGHT * (min(stats.ms / solo_ms, 10.0) - self._pace)
        self.on_batch(stats)

    def _drop(self, entries: list[Entry]) -> None:
        self._land(failed(entries, DeadlineExceeded(EXPIRED)))


def _ignore(_: object) -> None:
    """Nobody listens yet."""
