"""The work that waits for a device, in device-milliseconds, by tenant and due time."""

import math
from collections.abc import Iterable
from heapq import heappush
from typing import Final

from .batching import PRIORITY_DELAYS_S, Entry
from .tenant_work import Part, TenantWork

MAX_IDLE: Final = 256
"""Tenants without work whose service is remembered. Clients choose the names of tenants: without a bound, a
new name in each request would make every later request slower."""


class Account:
    """What waits, who is next, and what a new request has to wait for: one set of figures for all three.

    Tenants share the device by work: the next batch is headed by the tenant for which the device has
    done the least (start-time fair queueing, Goyal 1996), the rows of one tenant by due time. A
    tenant that comes back begins where the one that is served is: nothing can be saved up. A tenant
    whose first row has a low priority counts as served by the difference of the priority delays.
    Pure: no clock, no locks.
    """

    def __init__(self) -> None:
        self.total_ms = 0.0
        """The sum of all that waits, and of the further steps of rows that run.

        Kept, not added up: it is read for each reply, without a lock.
        """
        self._tenants: dict[str, TenantWork] = {}
        self._forget_at = MAX_IDLE
        self._reached_ms = 0.0  # ``served_ms`` of the tenant served last
        self.unended = 0
        """The rows, waiting or running, that need a step after their next one."""
        self.further_ms = 0.0
        """The solo cost of these further steps."""
        self._running: set[Entry] = set()
        """Those of them that run."""

    def later_ms(self, tenant: str, priority: int) -> float:
        """Waiting rows of the tenant that are not the first of their text, of this priority or a higher one."""
        work = self._tenants.get(tenant)
        return sum(work.later_ms[: priority + 1]) if work is not None else 0.0

    def expect(self, tenant: str, parts: Iterable[Part]) -> None:
        """Add the work of a text that is not tokenized yet."""
        work = self._of(tenant)
        for part in parts:
            self._add(work, part)

    def settle(self, tenant: str, parts: Iterable[Part]) -> None:
        """Remove what was expected: the text is tokenized, or has ended."""
        work = self._tenants[tenant]
        for part in parts:
            self._remove(work, part)
        self._forget(tenant, work)

    def put(self, entry: Entry, number: int) -> None:
        """A row waits. ``number`` decides between rows that are due at the same time."""
        work = self._of(entry.flight.tenant)
        work.served_ms = self._served_ms(work)
        work.rows += 1
        work.later_ms[entry.priority] += entry.solo_ms * entry.later
        self._schedule(work, entry, number)

    def reschedule(self, entry: Entry, number: int) -> None:
        """The row, which waits, is due earlier."""
        work = self._tenants[entry.flight.tenant]
        self._remove(work, _part(entry))
        work.later_ms[entry.priority] -= entry.solo_ms * entry.later
        entry.priority = entry.flight.priority
        work.later_ms[entry.priority] += entry.solo_ms * entry.later
        self._schedule(work, entry, number)

    def take(self, entry: Entry, *, ran: bool) -> None:
        """The row waits no longer: it runs, or it was dropped."""
        tenant = entry.flight.tenant
        work = self._tenants[tenant]
        self._remove(work, _part(entry))
        work.rows -= 1
        work.later_ms[entry.priority] -= entry.solo_ms * entry.later
        if ran:
            work.served_ms += entry.solo_ms
        if not work.rows:
            work.queue.clear()
            work.later_ms = [0.0] * len(PRIORITY_DELAYS_S)
        self._forget(tenant, work)

    def served(self, entry: Entry) -> None:
        """A row that is carried has its next step."""
        tenant = entry.flight.tenant
        work = self._of(tenant)
        work.served_ms += entry.solo_ms
        self._forget(tenant, work)
        if entry.further_ms:
            self._running.add(entry)

    def plan(self, entry: Entry, further_ms: float) -> None:
        """After its next step the row needs ``further_ms``: no new row waits for it, but it is work to be done."""
        if entry.further_ms or further_ms:
            self.unended += bool(further_ms) - bool(entry.further_ms)
            self.further_ms += further_ms - entry.further_ms
            self.total_ms += further_ms - entry.further_ms
            entry.further_ms = further_ms
            if not further_ms:
                self._running.discard(entry)
            self._round()

    def order(self, entry: Entry) -> tuple[float, float]:
        """Sorts rows that have begun as `head` chooses: by what their tenants have had, then by when they are due."""
        work = self._tenants.get(entry.flight.tenant)
        served_ms = self._served_ms(work) if work is not None else self._reached_ms
        return served_ms + PRIORITY_DELAYS_S[entry.priority] * 1e3, entry.due

    def blocking_ms(self, before_ms: float, capacity: int) -> float:
        """The further steps that run before a new row begins, of which ``capacity`` may be between two steps.

        It begins when as many rows have ended as wait before it. Till then those and the running ones take all of
        their steps, but for what is left of the rows that run by then: half a row each.

        Args:
            before_ms: of the next steps of the rows that wait before it.
            capacity: rows that may be between two steps.
        """
        if self.unended < capacity or not self._running:
            return 0.0
        left = [entry.further_ms for entry in self._running]
        running_ms = sum(left)
        waiting_ms = self.total_ms - self.further_ms
        share = min(1.0, before_ms / waiting_ms) if waiting_ms > 0.0 else 0.0
        ahead_ms = running_ms + share * (self.further_ms - running_ms)
        return max(capacity * min(left), ahead_ms - capacity * self.further_ms / self.unended / 2)

    def head(self) -> Entry | None:
        """The row that heads the next batch; None if none waits."""
        best: Entry | None = None
        best_ms = best_served_ms = math.inf
        for work in self._tenants.values():
            entry = work.head() if work.rows else None
            if entry is not None:
                ms = work.served_ms + PRIORITY_DELAYS_S[entry.priority] * 1e3
                if best is None or ms < best_ms:
                    best, best_ms, best_served_ms = entry, ms, work.served_ms
        if best is not None:
            self._reached_ms = max(self._reached_ms, best_served_ms)
        return best

    def before_ms(self, tenant: str, priority: int, due: float) -> float:
        """The work that will run before a new row of this tenant that is due at ``due``.

        Of its own tenant, what is due before it. Meanwhile each other tenant gets as much, at most
        what it has.
        """
        mine = self._tenants.get(tenant)
        own_ms = mine.due_by(due) if mine is not None else 0.0
        served_ms = self._served_ms(mine) if mine is not None else self._reached_ms
        ahead_ms = served_ms + own_ms + PRIORITY_DELAYS_S[priority] * 1e3
        return own_ms + sum(
            work.within_ms(ahead_ms - self._served_ms(work))
            for work in self._tenants.values()
            if work is not mine
        )

    def _of(self, tenant: str) -> TenantWork:
        work = self._tenants.get(tenant)
        if work is None:
            if len(self._tenants) >= self._forget_at:
                self._forget_idle()
            work = self._tenants[tenant] = TenantWork(self._reached_ms)
        return work

    def _served_ms(self, work: TenantWork) -> float:
        """From where the tenant goes on: while none of its rows waits it saves nothing up."""
        return work.served_ms if work.rows else max(work.served_ms, self._reached_ms)

    def _schedule(self, work: TenantWork, entry: Entry, number: int) -> None:
        entry.booked = entry.due  # read once: a request that joins may change it
        self._add(work, _part(entry))
        if not entry.alone:  # suspects have a queue of their own
            heappush(work.queue, (entry.booked, number, entry))

    def _add(self, work: TenantWork, part: Part) -> None:
        work.add(part)
        self.total_ms += part.ms

    def _remove(self, work: TenantWork, part: Part) -> None:
        work.remove(part)
        self.total_ms -= part.ms

    def _forget(self, tenant: str, work: TenantWork) -> None:
        """A tenant without work is forgotten, unless it has had more than others."""
        if work.is_empty and (work.served_ms <= self._reached_ms or len(self._tenants) == 1):
            del self._tenants[tenant]
            self._round()

    def _round(self) -> None:
        """Remove the rounding errors of sums that are zero."""
        if not self.unended:
            self.further_ms = 0.0
            if not self._tenants:
                self.total_ms = 0.0

    def _forget_idle(self) -> None:
        """Forget tenants without work: all that have had no more than others, and of the rest all but a few.

        Those that stay have had the most. The next time is when there are twice as many, so a new tenant
        costs no more however many there are.
        """
        for tenant, work in list(self._tenants.items()):
            self._forget(tenant, work)
        idle = [(work.served_ms, tenant) for tenant, work in self._tenants.items() if work.is_empty]
        for _, tenant in sorted(idle)[: max(0, len(idle) - MAX_IDLE // 2)]:
            del self._tenants[tenant]
        self._forget_at = max(MAX_IDLE, 2 * len(self._tenants))


def _part(entry: Entry) -> Part:
    return Part(entry.booked, entry.solo_ms, entry.priority)
