"""Rows on their way to the device: put in from anywhere, taken out a batch at a time by free lanes."""

import itertools
import math
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from .batching import PRIORITY_DELAYS_S, Entry, Limits, Shapes, choose, length_of, sweep


class Batcher:
    """A waiting room between the threads that prepare rows and the lanes that run them.

    Bounded by its callers: the worker's window bounds the requests, and a request's size bounds its rows.
    """

    def __init__(
        self, cost: Shapes, limits: Limits, clock: Callable[[], float], drop: Callable[[list[Entry]], None]
    ) -> None:
        self._waiting: list[Entry] = []  # sorted by length
        self._due: list[tuple[float, int, Entry]] = []  # a heap; what was taken stays until it comes up
        self._latest: list[tuple[float, int, Entry]] = []  # a heap, by when a row must end
        self._alone: deque[Entry] = deque()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._idle_lanes = 0
        self._closed = False
        self._backlog_ms = [0.0] * len(PRIORITY_DELAYS_S)
        self._cost, self._clock, self._drop = cost, clock, drop
        self._full, self.limits = limits, limits

    def put(self, entries: Iterable[Entry]) -> None:
        """Let the entries wait for a lane."""
        with self._changed:
            for entry in entries:
                entry.solo_ms = self._cost.ms(1, entry.length)
                self._backlog_ms[entry.priority] += entry.solo_ms
                if entry.alone:
                    self._alone.append(entry)
                else:
                    insort(self._waiting, entry, key=length_of)
                    entry.waits = True
                    number = next(self._numbers)
                    heappush(self._due, (entry.due, number, entry))
                    if entry.expires < math.inf:
                        heappush(self._latest, (entry.expires, number, entry))
            self._changed.notify(self._idle_lanes)

    def hurry(self, entries: Iterable[Entry]) -> None:
        """Their ``due`` has become earlier."""
        with self._changed:
            for entry in entries:
                if entry.waits:
                    heappush(self._due, (entry.due, next(self._numbers), entry))

    def take(self) -> list[Entry] | None:
        """Block until a batch can run; None once the batcher is closed."""
        while True:
            with self._changed:
                self._idle_lanes += 1
                self._changed.wait_for(lambda: self._waiting or self._alone or self._closed)
                late = self._too_late()
                batch = self._next()
                self._idle_lanes -= 1
            if late:
                self._drop(late)
            if kept := self.swept(batch):
                return kept
            if self._closed and not batch:
                return None

    def swept(self, batch: list[Entry]) -> list[Entry]:
        """The rows that may still run; the others are dropped."""
        kept, dropped = sweep(batch, self._clock())
        if dropped:
            self._drop(dropped)
        return kept

    def _next(self) -> list[Entry]:
        """The batch that `plan` would choose; rows in it that must not run any more are for the caller to drop.

        `plan` looks at all that waits; this finds the same head in a heap, and leaves out only what it takes.
        """
        if self._alone:
            batch = [self._alone.popleft()]
        elif self._waiting:
            while not self._due[0][2].waits:
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

    def _too_late(self) -> list[Entry]:
        """Rows that could not end in time any more, even alone, taken out: under overload they would fill the batches.

        The last row that waits is left: were what is predicted too long, nothing would run and correct it.
        """
        late: list[Entry] = []
        now = self._clock()
        while len(self._waiting) > 1 and self._latest:
            expires, _, entry = self._latest[0]
            if entry.waits and expires - entry.solo_ms * self._cost.stretch / 1e3 >= now:
                break
            heappop(self._latest)
            if not entry.waits:
                continue
            if entry.expires > expires:  # somebody joined who can wait longer
                heappush(self._latest, (entry.expires, next(self._numbers), entry))
                continue
            position = bisect_left(self._waiting, entry.length, key=length_of)
            while self._waiting[position] is not entry:
                position += 1
            del self._waiting[position]
            self._taken([entry])
            late.append(entry)
        return late

    def close(self) -> None:
        """Wake the lanes; they run what waits and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def shrink(self, padded_tokens: int) -> None:
        """A batch of this size did not fit into the device's memory: stay at half of it."""
        with self._changed:
            half = max(1, padded_tokens // 2)
            self.limits = self.limits._replace(token_budget=min(self.limits.token_budget, half))

    def recover(self) -> None:
        """A batch ran: let a shrunken budget grow by a little, up to the configured one."""
        if self.limits.token_budget < self._full.token_budget:
            with self._changed:
                grown = self.limits.token_budget + max(1, self._full.token_budget // 100)
                self.limits = self.limits._replace(token_budget=min(grown, self._full.token_budget))

    def __len__(self) -> int:
        return len(self._waiting) + len(self._alone)

    @property
    def busy(self) -> bool:
        """Whether no lane waits for work."""
        return self._idle_lanes == 0

    def backlog_ms(self, priority: int) -> float:
        """The predicted cost of running what waits alone, as far as it goes before a new row of this priority."""
        return sum(self._backlog_ms[: priority + 1])

    def _taken(self, batch: Iterable[Entry]) -> None:
        for entry in batch:
            entry.waits = False
            self._backlog_ms[entry.priority] -= entry.solo_ms
        if not self._waiting:
            self._due.clear()
            self._latest.clear()
            if not self._alone:
                self._backlog_ms = [0.0] * len(PRIORITY_DELAYS_S)  # exactly, whatever was lost in adding up
