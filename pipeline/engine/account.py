"""The work that waits for a device, in device-milliseconds, by tenant and due time."""

import math
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from .batching import PRIORITY_DELAYS_S, Entry

BUCKET_S: Final = 0.25
"""Work is added up over due times of this length: the smallest difference of two priorities."""

NORMAL: Final = 1


class Part(NamedTuple):
    """Work that is due at about the same time: ``bucket`` is its due time, in units of `BUCKET_S`."""

    bucket: int
    ms: float


class TenantWork:
    """The rows of one tenant that wait, and the work of its texts that are not tokenized yet.

    ``served_ms`` is what the device has done for the tenant, on a scale that all tenants share.
    """

    def __init__(self, served_ms: float) -> None:
        self.served_ms = served_ms
        self.rows = 0
        self.total_ms = 0.0
        self.later_ms = 0.0
        """The waiting rows that are not the first of their text."""
        self.queue: list[tuple[float, int, Entry]] = []
        """A heap by due time. Entries that were taken stay until they come up."""
        self._by_due: dict[int, list[float]] = {}  # bucket to [ms, number of parts]
        self._parts = 0

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
        found = self._by_due.get(part.bucket)
        if found is None:
            found = self._by_due[part.bucket] = [0.0, 0]
        found[0] += part.ms
        found[1] += 1
        self.total_ms += part.ms
        self._parts += 1

    def remove(self, part: Part) -> None:
        found = self._by_due[part.bucket]
        found[0] -= part.ms
        found[1] -= 1
        if not found[1]:
            del self._by_due[part.bucket]  # exactly: removes the rounding errors
        self._parts -= 1
        self.total_ms = self.total_ms - part.ms if self._parts else 0.0

    def due_by(self, bucket: int) -> float:
        """Milliseconds of work that is due in this bucket or before."""
        return sum(ms for at, (ms, _) in self._by_due.items() if at <= bucket)


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

    def later_ms(self, tenant: str) -> float:
        """Waiting rows of the tenant that are not the first of their text."""
        work = self._tenants.get(tenant)
        return work.later_ms if work is not None else 0.0

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
        work.rows += 1
        work.later_ms += entry.solo_ms * entry.later
        self._schedule(work, entry, number)

    def reschedule(self, entry: Entry, number: int) -> None:
        """The row, which waits, is due earlier."""
        work = self._tenants[entry.flight.tenant]
        work.remove(Part(entry.bucket, entry.solo_ms))
        self._schedule(work, entry, number)

    def take(self, entry: Entry, *, ran: bool) -> None:
        """The row waits no longer: it runs, or it was dropped."""
        tenant = entry.flight.tenant
        work = self._tenants[tenant]
        work.remove(Part(entry.bucket, entry.solo_ms))
        work.rows -= 1
        work.later_ms = work.later_ms - entry.solo_ms * entry.later if work.rows else 0.0
        if ran:
            work.served_ms += entry.solo_ms
        if not work.rows:
            work.queue.clear()
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
        own_ms = mine.due_by(bucket_of(due)) if mine is not None else 0.0
        ahead_ms = own_ms + PRIORITY_DELAYS_S[priority] * 1e3 + self._lead_ms(mine)
        return own_ms + sum(
            min(work.total_ms, max(0.0, ahead_ms - _handicap_ms(work) - self._lead_ms(work)))
            for work in self._tenants.values()
            if work is not mine
        )

    def _lead_ms(self, work: TenantWork | None) -> float:
        """How much more the device has done for this tenant than for the one served last."""
        return max(0.0, work.served_ms - self._reached_ms) if work is not None else 0.0

    def _of(self, tenant: str) -> TenantWork:
        work = self._tenants.get(tenant)
        if work is None:
            self._forget_idle()
            work = self._tenants[tenant] = TenantWork(self._reached_ms)
        elif work.is_empty:
            work.served_ms = max(work.served_ms, self._reached_ms)
        return work

    def _schedule(self, work: TenantWork, entry: Entry, number: int) -> None:
        due = entry.due  # read once: a request that joins may change it
        entry.bucket = bucket_of(due)
        work.add(Part(entry.bucket, entry.solo_ms))
        heappush(work.queue, (due, number, entry))

    def _forget(self, tenant: str, work: TenantWork) -> None:
        """A tenant without work is forgotten, unless it has had more than others."""
        if work.is_empty and (work.served_ms <= self._reached_ms or len(self._tenants) == 1):
            del self._tenants[tenant]

    def _forget_idle(self) -> None:
        for tenant, work in list(self._tenants.items()):
            self._forget(tenant, work)


def bucket_of(due: float) -> int:
    return math.floor(due / BUCKET_S)


def spread(due: float, ms: float, ms_in_a_second: float) -> Iterator[Part]:
    """Work that is due from ``due`` on, ``ms_in_a_second`` of it in each second."""
    in_a_bucket = ms_in_a_second * BUCKET_S
    bucket = bucket_of(due)
    while ms > 0.0:
        yield Part(bucket, min(ms, in_a_bucket))
        ms -= in_a_bucket
        bucket += 1


def _handicap_ms(work: TenantWork) -> float:
    head = work.head()
    return PRIORITY_DELAYS_S[NORMAL if head is None else head.priority] * 1e3
