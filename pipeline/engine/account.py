"""The work that waits for a device, in device-milliseconds, by tenant and due time."""

import math
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from .batching import PRIORITY_DELAYS_S, Entry

BUCKET_S: Final = 0.25
"""Work is added up over due times of this length: the smallest difference of two priorities."""


class Part(NamedTuple):
    """Work of one priority that is due at ``due``, in clock seconds."""

    due: float
    ms: float
    priority: int


class Bucket:
    """The work of one tenant that is due within `BUCKET_S`."""

    __slots__ = ("first", "last", "ms", "parts")

    def __init__(self, due: float) -> None:
        self.ms = 0.0
        self.parts = 0
        self.first = due
        self.last = due

    def due_by(self, due: float) -> float:
        """Milliseconds that are due by then, as if the work were spread evenly from ``first`` to ``last``."""
        if due >= self.last:
            return self.ms
        return self.ms * (due - self.first) / (self.last - self.first) if due > self.first else 0.0


class TenantWork:
    """The rows of one tenant that wait, and the work of its texts that are not tokenized yet.

    ``served_ms`` is what the device has done for the tenant, on a scale that all tenants share.
    """

    def __init__(self, served_ms: float) -> None:
        self.served_ms = served_ms
        self.rows = 0
        self.by_priority_ms = [0.0] * len(PRIORITY_DELAYS_S)
        self.later_ms = [0.0] * len(PRIORITY_DELAYS_S)
        """The waiting rows that are not the first of their text, by priority."""
        self.queue: list[tuple[float, int, Entry]] = []
        """A heap by due time. Entries that were taken stay until they come up."""
        self._by_due: dict[int, Bucket] = {}
        self._parts = 0

    @property
    def total_ms(self) -> float:
        return sum(self.by_priority_ms)

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def head(self) -> Entry | None:
        """The row that is due first."""
        queue = self.queue
        while queue and not queue[0][2].waiting:
            heappop(queue)
        return queue[0][2] if queue else None

    def add(self, part: Part) -> None:
        due = part.due
        bucket = self._by_due.get(bucket_of(due))
        if bucket is None:
            bucket = self._by_due[bucket_of(due)] = Bucket(due)
        bucket.ms += part.ms
        bucket.parts += 1
        bucket.first = min(bucket.first, due)
        bucket.last = max(bucket.last, due)
        self.by_priority_ms[part.priority] += part.ms
        self._parts += 1

    def remove(self, part: Part) -> None:
        number = bucket_of(part.due)
        bucket = self._by_due[number]
        bucket.ms -= part.ms
        bucket.parts -= 1
        if not bucket.parts:
            del self._by_due[number]  # exactly: removes the rounding errors
        self.by_priority_ms[part.priority] -= part.ms
        self._parts -= 1
        if not self._parts:
            self.by_priority_ms = [0.0] * len(PRIORITY_DELAYS_S)

    def within_ms(self, ahead_ms: float) -> float:
        """What runs of this work while a tenant that was served as much gets ``ahead_ms``."""
        within_ms = 0.0
        for delay_s, ms in zip(PRIORITY_DELAYS_S, self.by_priority_ms, strict=True):
            within_ms += max(0.0, min(ms, ahead_ms - delay_s * 1e3 - within_ms))
        return within_ms

    def due_by(self, due: float) -> float:
        """Milliseconds of work that is due by then."""
        last = bucket_of(due)
        return sum(
            bucket.ms if number < last else bucket.due_by(due)
            for number, bucket in self._by_due.items()
            if number <= last
        )


class Account:
    """What waits, who is next, and what a new request has to wait for: one set of figures for all three.

    Tenants share the device by work: the next batch is headed by the tenant for which the device has
    done the least (start-time fair queueing, Goyal 1996), the rows of one tenant by due time. A
    tenant that comes back begins where the one that is served is: nothing can be saved up. A tenant
    whose first row has a low priority counts as served by the difference of the priority delays.
    Pure: no clock, no locks.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, TenantWork] = {}
        self._reached_ms = 0.0  # ``served_ms`` of the tenant served last

    @property
    def total_ms(self) -> float:
        return sum(work.total_ms for work in self._tenants.values())

    def later_ms(self, tenant: str, priority: int) -> float:
        """Waiting rows of the tenant that are not the first of their text, of this priority or a higher one."""
        work = self._tenants.get(tenant)
        return sum(work.later_ms[: priority + 1]) if work is not None else 0.0

    def expect(self, tenant: str, parts: Iterable[Part]) -> None:
        """Add the work of a text that is not tokenized yet."""
        work = self._of(tenant)
        for part in parts:
            work.add(part)

    def settle(self, tenant: str, parts: Iterable[Part]) -> None:
        """Remove what was expected: the text is tokenized, or has ended."""
        work = self._tenants[tenant]
        for part in parts:
            work.remove(part)
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
        work.remove(_part(entry))
        work.later_ms[entry.priority] -= entry.solo_ms * entry.later
        entry.priority = entry.flight.priority
        work.later_ms[entry.priority] += entry.solo_ms * entry.later
        self._schedule(work, entry, number)

    def take(self, entry: Entry, *, ran: bool) -> None:
        """The row waits no longer: it runs, or it was dropped."""
        tenant = entry.flight.tenant
        work = self._tenants[tenant]
        work.remove(_part(entry))
        work.rows -= 1
        work.later_ms[entry.priority] -= entry.solo_ms * entry.later
        if ran:
            work.served_ms += entry.solo_ms
        if not work.rows:
            work.queue.clear()
            work.later_ms = [0.0] * len(PRIORITY_DELAYS_S)
        self._forget(tenant, work)

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
            self._forget_idle()
            work = self._tenants[tenant] = TenantWork(self._reached_ms)
        return work

    def _served_ms(self, work: TenantWork) -> float:
        """From where the tenant goes on: while none of its rows waits it saves nothing up."""
        return work.served_ms if work.rows else max(work.served_ms, self._reached_ms)

    def _schedule(self, work: TenantWork, entry: Entry, number: int) -> None:
        entry.booked = entry.due  # read once: a request that joins may change it
        work.add(_part(entry))
        heappush(work.queue, (entry.booked, number, entry))

    def _forget(self, tenant: str, work: TenantWork) -> None:
        """A tenant without work is forgotten, unless it has had more than others."""
        if work.is_empty and (work.served_ms <= self._reached_ms or len(self._tenants) == 1):
            del self._tenants[tenant]

    def _forget_idle(self) -> None:
        for tenant, work in list(self._tenants.items()):
            self._forget(tenant, work)


def bucket_of(due: float) -> int:
    return math.floor(due / BUCKET_S)


def spread(due: float, ms: float, priority: int, ms_in_a_second: float) -> Iterator[Part]:
    """Work that is due from ``due`` on, ``ms_in_a_second`` of it in each second."""
    in_a_bucket = ms_in_a_second * BUCKET_S
    while ms > 0.0:
        yield Part(due, min(ms, in_a_bucket), priority)
        ms -= in_a_bucket
        due += BUCKET_S


def _part(entry: Entry) -> Part:
    return Part(entry.booked, entry.solo_ms, entry.priority)
