"""The rows that wait for a step of one phase, with the cost and the limits of its batches."""

import math
from bisect import bisect_left, insort
from heapq import heappop, heappush
from typing import Final
from zlib import crc32

from .batching import Entry, Limits, ShapeCost, choose, rank_of

NUMBERS: Final = 1 << 48
"""More rows than a batcher ever gets."""

MOMENTS: Final = 1 << 64
"""More microseconds than a clock ever shows."""

TENANTS: Final = 1 << 16
"""Tenants that share one of these numbers are sorted as one."""

PARTIALS: Final = (1 << 32) * TENANTS * MOMENTS * NUMBERS
"""Ranks from here on are those of partials: no row is as long as that."""

SLOWEST: Final = 32
"""A batch that does not fit costs as much as one that does: one of about this many may fail."""


class PhaseQueue:
    """Sorted by length, so that neighbors make a batch. Its batcher holds the lock.

    Partials are behind all other rows, and share no batch with them: under overload many of them wait, and in each
    batch they would take the room of finals that are due. They are not shared out among idle lanes: they have time.

    Rows of one length are sorted by tenant and by when they are due. So the batch around a head takes those of its
    tenant that are due next. With rows that have time, or those of another tenant, a tenant would use up its
    share of the device while a row of another length is due.
    """

    def __init__(self, cost: ShapeCost, limits: Limits) -> None:
        self.cost = cost
        self.limits = limits
        self.waiting: list[Entry] = []  # sorted by rank
        self._configured_limits = limits
        self._risen = 0.0  # less than one token
        # A heap by deadline; entries that were taken stay until they come up.
        self._expiries: list[tuple[float, int, Entry]] = []

    def put(self, entry: Entry, number: int) -> None:
        """``number`` differs between all rows."""
        tenant = crc32(entry.flight.tenant.encode()) % TENANTS
        moment = min(max(0, int(entry.due * 1e6)), MOMENTS - 1)
        entry.rank = ((entry.length * TENANTS + tenant) * MOMENTS + moment) * NUMBERS + number
        if entry.flight.partial:
            entry.rank += PARTIALS
        insort(self.waiting, entry, key=rank_of)
        entry.waiting = True
        if entry.expires < math.inf:
            heappush(self._expiries, (entry.expires, number, entry))

    def take_batch(self, head: Entry, now: float, idle_lanes: int, running: int) -> list[Entry]:
        """Take out the batch around its head, expired and cancelled rows included.

        The lane carries ``running`` rows already.
        """
        waiting = self.waiting
        limits = self.limits
        if self.holds(head):
            limits = limits._replace(max_rows=max(1, min(limits.max_rows, limits.max_running - running)))
        position = bisect_left(waiting, head.rank, key=rank_of)
        first, end = self._likes(head)
        likes = waiting if end - first == len(waiting) else waiting[first:end]
        if head.flight.partial:
            # On one lane the partials of 50 speakers and their finals took 0.93 of the time that they took on two
            # (docs/decisions/0022), and the other lane stays free for finals.
            idle_lanes = 1
        low, high = choose(likes, position - first, now, self.cost, limits, idle_lanes)
        batch = likes[low:high]
        del waiting[first + low : first + high]
        self._taken()
        return batch

    def holds(self, entry: Entry) -> bool:
        """Whether the row, once it is taken, counts for `Limits.max_running`."""
        return self.limits.all_held or entry.row.steps_left > 0

    def _likes(self, head: Entry) -> tuple[int, int]:
        """Where the rows begin and end that may share a batch with this one: the partials, or all others."""
        waiting = self.waiting
        if not waiting or waiting[-1].rank < PARTIALS:
            return 0, len(waiting)
        boundary = bisect_left(waiting, PARTIALS, key=rank_of)
        return (boundary, len(waiting)) if head.rank >= PARTIALS else (0, boundary)

    def remove(self, entry: Entry) -> None:
        """Take out one row."""
        del self.waiting[bisect_left(self.waiting, entry.rank, key=rank_of)]
        self._taken()

    def late(self, now: float) -> list[Entry]:
        """The rows that would miss their deadline even alone, taken out.

        Under overload they would fill the batches. Always leaves one row: if predictions are too
        pessimistic, only a run can correct them.
        """
        late: list[Entry] = []
        while len(self.waiting) > 1 and self._expiries:
            expires, number, entry = self._expiries[0]
            if (
                entry.waiting
                and expires - (entry.solo_ms + entry.further_ms) * self.cost.stretch / 1e3 >= now
            ):
                break
            heappop(self._expiries)
            if not entry.waiting:
                continue
            if entry.expires > expires:  # a request with a later deadline has joined
                heappush(self._expiries, (entry.expires, number, entry))
                continue
            self.remove(entry)
            entry.waiting = False
            entry.judged = expires
            late.append(entry)
        return late

    def fits(self, entry: Entry, group: list[Entry]) -> bool:
        """Whether the row may join the step of ``group``: within the limits, and no slower than apart."""
        if entry.phase != group[0].phase or entry.alone or group[0].alone:
            return False
        rows = len(group)
        longest = max(one.length for one in group)
        length = max(longest, entry.length)
        if rows >= self.limits.max_rows or (rows + 1) * length > self.limits.token_budget:
            return False
        return self.cost.ms(rows + 1, length) <= self.cost.ms(rows, longest) + self.cost.ms(1, entry.length)

    def shrink(self, padded_tokens: int) -> None:
        """Limit batches to half of this size, which did not fit into the device's memory."""
        half = max(1, padded_tokens // 2)
        self.limits = self.limits._replace(token_budget=min(self.limits.token_budget, half))

    @property
    def is_reduced(self) -> bool:
        """Whether batches are smaller than configured."""
        return self.limits.token_budget < self._configured_limits.token_budget

    def recover(self) -> None:
        """A batch has run: raise a reduced token budget by 1 % of the configured one, up to that.

        A small budget rises by 1/32 of itself: steps of a few rows would not fit again after one batch.
        """
        configured = self._configured_limits.token_budget
        budget = self.limits.token_budget
        self._risen += min(max(1.0, configured / 100), budget / SLOWEST)
        whole = int(self._risen)
        self._risen -= whole
        self.limits = self.limits._replace(token_budget=min(budget + whole, configured))

    def _taken(self) -> None:
        if not self.waiting:
            self._expiries.clear()
