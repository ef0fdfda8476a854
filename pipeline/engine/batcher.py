"""Rows that wait for a device: any thread puts them in, free lanes take them out in batches."""

import itertools
import math
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from .batching import PRIORITY_DELAYS_S, Entry, Limits, ShapeCost, choose, length_of, split_runnable


class Batcher:
    """A queue between the thread that prepares rows and the lanes that run them.

    Its callers bound it: the window bounds the requests, and a request's size bounds its rows.
    """

    def __init__(
        self, cost: ShapeCost, limits: Limits, clock: Callable[[], float], drop: Callable[[list[Entry]], None]
    ) -> None:
        """``drop`` gets the rows that must not run any more; it is called from any thread."""
        self.limits = limits
        self._configured_limits = limits
        self._cost = cost
        self._clock = clock
        self._drop = drop
        self._waiting: list[Entry] = []  # sorted by length
        self._due: list[
            tuple[float, int, Entry]
        ] = []  # a heap; entries that were taken stay until they come up
        self._expiries: list[tuple[float, int, Entry]] = []  # likewise, by deadline
        self._alone: deque[Entry] = deque()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._idle_lanes = 0
        self._closed = False
        self._backlog_ms = [0.0] * len(PRIORITY_DELAYS_S)

    def put(self, entries: Iterable[Entry]) -> None:
        """Queue the entries and wake idle lanes."""
        with self._changed:
            for entry in entries:
                entry.solo_ms = self._cost.ms(1, entry.length)
                self._backlog_ms[entry.priority] += entry.solo_ms
                if entry.alone:
                    self._alone.append(entry)
                else:
                    insort(self._waiting, entry, key=length_of)
                    entry.waiting = True
                    number = next(self._numbers)
                    heappush(self._due, (entry.due, number, entry))
                    if entry.expires < math.inf:
                        heappush(self._expiries, (entry.expires, number, entry))
            self._changed.notify(self._idle_lanes)

    def reschedule(self, entries: Iterable[Entry]) -> None:
        """Account for an earlier ``due`` of these entries, as far as they wait."""
        with self._changed:
            for entry in entries:
                if entry.waiting:
                    heappush(self._due, (entry.due, next(self._numbers), entry))

    def take(self) -> list[Entry] | None:
        """Block until a batch can run; None once the batcher is closed and empty."""
        while True:
            with self._changed:
                self._idle_lanes += 1
                self._changed.wait_for(lambda: self._waiting or self._alone or self._closed)
                late = self._take_late()
                batch = self._take_batch()
                self._idle_lanes -= 1
            if late:
                self._drop(late)
            if runnable := self.runnable(batch):
                return runnable
            if self._closed and not batch:
                return None

    def runnable(self, batch: list[Entry]) -> list[Entry]:
        """The rows that may still run; drops the cancelled and the expired ones."""
        runnable, dropped = split_runnable(batch, self._clock())
        if dropped:
            self._drop(dropped)
        return runnable

    def _take_batch(self) -> list[Entry]:
        """Take out the next batch, expired and cancelled rows included; suspects first, each alone.

        The heap gives the head, the row due first, without reading all rows (docs/decisions/0005).
        """
        if self._alone:
            batch = [self._alone.popleft()]
        elif self._waiting:
            while not self._due[0][2].waiting:
                heappop(self._due)
            head = self._due[0][2]
            waiting = self._waiting
            low, high = choose(waiting, head, self._clock(), self._cost, self.limits, self._idle_lanes)
            batch = waiting[low:high]
            del waiting[low:high]
        else:
            return []
        self._taken(batch)
        return batch

    def _take_late(self) -> list[Entry]:
        """Take out the rows that would miss their deadline even alone.

        Under overload they would fill the batches.

        Always leaves one row: if predictions are too pessimistic, only a run can correct them.
        """
        late: list[Entry] = []
        now = self._clock()
        while len(self._waiting) > 1 and self._expiries:
            expires, _, entry = self._expiries[0]
            if entry.waiting and expires - entry.solo_ms * self._cost.stretch / 1e3 >= now:
                break
            heappop(self._expiries)
            if not entry.waiting:
                continue
            if entry.expires > expires:  # a request with a later deadline has joined
                heappush(self._expiries, (entry.expires, next(self._numbers), entry))
                continue
            position = bisect_left(self._waiting, entry.length, key=length_of)
            while self._waiting[position] is not entry:
                position += 1
            del self._waiting[position]
            self._taken([entry])
            entry.judged = expires
            late.append(entry)
        return late

    def close(self) -> None:
        """Wake the lanes: they run the waiting rows and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def shrink(self, padded_tokens: int) -> None:
        """Limit batches to half of this size, which did not fit into the device's memory."""
        with self._changed:
            half = max(1, padded_tokens // 2)
            self.limits = self.limits._replace(token_budget=min(self.limits.token_budget, half))

    def recover(self) -> None:
        """A batch has run: raise a reduced token budget by 1 % of the configured one, up to that."""
        configured = self._configured_limits.token_budget
        if self.limits.token_budget < configured:
            with self._changed:
                raised = self.limits.token_budget + max(1, configured // 100)
                self.limits = self.limits._replace(token_budget=min(raised, configured))

    def __len__(self) -> int:
        return len(self._waiting) + len(self._alone)

    @property
    def busy(self) -> bool:
        """Whether no lane waits for work."""
        return self._idle_lanes == 0

    def backlog_ms(self, priority: int) -> float:
        """The summed solo cost of the waiting rows of this priority and of higher ones."""
        return sum(self._backlog_ms[: priority + 1])

    def _taken(self, batch: Iterable[Entry]) -> None:
        for entry in batch:
            entry.waiting = False
            self._backlog_ms[entry.priority] -= entry.solo_ms
        if not self._waiting:
            self._due.clear()
            self._expiries.clear()
            if not self._alone:
                self._backlog_ms = [0.0] * len(PRIORITY_DELAYS_S)  # exactly: removes the rounding errors
