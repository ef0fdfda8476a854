"""Rows that wait for a device: any thread puts them in, free lanes take them out in batches."""

import itertools
import math
import threading
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from .account import Account
from .batching import PRIORITY_DELAYS_S, Entry, Limits, ShapeCost, choose, rank_of, split_runnable
from .tenant_work import Part, spread
from .text_cost import TextCost

if TYPE_CHECKING:
    from .flights import Flight

LATER_SHARE: Final = 0.5
"""The share of the device at which the later rows of a tenant's long texts are due.

What it does not need goes to them as well: nothing waits while a lane is idle.
"""

RANK: Final = 1 << 48
"""More rows than a batcher ever gets: orders rows by length, then by arrival."""


class Batcher:
    """A queue between the threads that prepare rows and the lanes that run them.

    Its callers bound it: the window bounds the requests, and the task bounds the rows of a text.
    """

    def __init__(
        self,
        cost: ShapeCost,
        limits: Limits,
        clock: Callable[[], float],
        drop: Callable[[list[Entry]], None],
        lanes: int = 1,
    ) -> None:
        """``drop`` gets the rows that must not run any more; it is called from any thread."""
        self.limits = limits
        self._configured_limits = limits
        self._cost = cost
        self._clock = clock
        self._drop = drop
        self._later_ms_in_a_second = lanes * 1e3 * LATER_SHARE
        self._account = Account()
        self._texts = TextCost(cost)
        self._waiting: list[Entry] = []  # sorted by rank
        # A heap by deadline; entries that were taken stay until they come up.
        self._expiries: list[tuple[float, int, Entry]] = []
        self._alone: deque[Entry] = deque()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._idle_lanes = 0
        self._closed = False

    def expect(self, flight: "Flight") -> None:
        """Count the work of a text that is not tokenized yet, by an estimate; `settle` ends that."""
        row_ms, rows = self._texts.rows(len(flight.text))
        due = min(flight.started_at + PRIORITY_DELAYS_S[flight.priority], flight.expires)
        with self._changed:
            priority = flight.priority
            parts = [Part(due, row_ms, priority)]
            if rows > 1:
                due += self._account.later_ms(flight.tenant, priority) / self._later_ms_in_a_second
                parts += spread(due, row_ms * (rows - 1), priority, self._later_ms_in_a_second)
            flight.expected = parts
            self._account.expect(flight.tenant, parts)

    def settle(self, flight: "Flight", lengths: Sequence[int] = ()) -> None:
        """The text was tokenized, to rows of these lengths, or has ended: forget the estimate."""
        if lengths:
            self._texts.observe(len(flight.text), lengths)
        with self._changed:
            self._account.settle(flight.tenant, flight.expected)
            flight.expected = []

    def arrivals(self, flight: "Flight", lengths: Sequence[int]) -> list[float]:
        """When each row of the text counts as arrived, in clock seconds.

        The later rows of a long text are due one after the other, behind those of the tenant's
        other long texts, so that they take `LATER_SHARE` of the device and short texts run in between.
        """
        arrivals = [flight.started_at]
        if len(lengths) > 1:
            with self._changed:
                later_ms = self._account.later_ms(flight.tenant, flight.priority)
            for length in lengths[1:]:
                later_ms += self._cost.ms(1, length)
                arrivals.append(flight.started_at + later_ms / self._later_ms_in_a_second)
        return arrivals

    def put(self, entries: Iterable[Entry]) -> None:
        """Queue the entries and wake idle lanes."""
        with self._changed:
            for entry in entries:
                entry.solo_ms = self._cost.ms(1, entry.length)
                number = next(self._numbers)
                self._account.put(entry, number)
                if entry.alone:
                    self._alone.append(entry)
                else:
                    entry.rank = entry.length * RANK + number
                    insort(self._waiting, entry, key=rank_of)
                    entry.waiting = True
                    if entry.expires < math.inf:
                        heappush(self._expiries, (entry.expires, number, entry))
            self._changed.notify(self._idle_lanes)

    def reschedule(self, entries: Iterable[Entry]) -> None:
        """Account for an earlier ``due`` of these entries, as far as they wait."""
        with self._changed:
            for entry in entries:
                if entry.waiting:
                    self._account.reschedule(entry, next(self._numbers))

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

        The account gives the head without reading all rows (docs/decisions/0005).
        """
        if self._alone:
            batch = [self._alone.popleft()]
        elif (head := self._account.head()) is not None:
            waiting = self._waiting
            position = bisect_left(waiting, head.rank, key=rank_of)
            low, high = choose(waiting, position, self._clock(), self._cost, self.limits, self._idle_lanes)
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
            del self._waiting[bisect_left(self._waiting, entry.rank, key=rank_of)]
            self._taken([entry], ran=False)
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

    @property
    def backlog_ms(self) -> float:
        """The summed solo cost of what waits, texts included that are not tokenized yet."""
        return self._account.total_ms  # without the lock: a float is read whole

    def before_ms(self, tenant: str, priority: int, due: float) -> float:
        """The solo cost of what will run before a new row; see `Account.before_ms`."""
        with self._changed:
            return self._account.before_ms(tenant, priority, due)

    def later_rows_ms(self, characters: int) -> float:
        """The solo cost of all rows of a text but the first, by an estimate."""
        row_ms, rows = self._texts.rows(characters)
        return row_ms * (rows - 1)

    def _taken(self, batch: Iterable[Entry], *, ran: bool = True) -> None:
        for entry in batch:
            entry.waiting = False
            self._account.take(entry, ran=ran)
        if not self._waiting:
            self._expiries.clear()
