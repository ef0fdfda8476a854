"""The waiting work of one tenant, in device-milliseconds, by due time."""

import math
from collections.abc import Iterator
from heapq import heappop
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


def bucket_of(due: float) -> int:
    return math.floor(due / BUCKET_S)


def spread(due: float, ms: float, priority: int, ms_in_a_second: float) -> Iterator[Part]:
    """Work that is due from ``due`` on, ``ms_in_a_second`` of it in each second."""
    in_a_bucket = ms_in_a_second * BUCKET_S
    while ms > 0.0:
        yield Part(due, min(ms, in_a_bucket), priority)
        ms -= in_a_bucket
        due += BUCKET_S
