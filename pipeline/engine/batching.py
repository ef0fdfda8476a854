"""Which waiting rows run together next: a pure function of what waits, the time, and the learned cost."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from ..tasks.base import Row

PRIORITY_DELAYS_S = (0.0, 0.25, 5.0)
"""How long a row of priority high, normal, low lets younger rows of higher priority pass.

Ageing is linear, so the order of two rows never changes while they wait: `Entry.due` is fixed at arrival,
and whoever has the smallest will be the head of a batch before any row that arrives `PRIORITY_DELAYS_S` later.
"""

MIN_GAIN = 1.01
"""A larger batch must be better by this factor: its rows wait longer, and costs are not known any better."""


class Entry:
    """One row that waits for the device. ``expires`` and ``arrived`` are clock seconds.

    A row that is ``alone`` shares no batch: it was on the device when a process died. ``solo_ms`` is its predicted
    cost without company.
    """

    __slots__ = (
        "alone",
        "arrived",
        "cancelled",
        "due",
        "expires",
        "length",
        "owner",
        "priority",
        "row",
        "solo_ms",
        "waits",
    )

    def __init__(
        self, row: Row, *, arrived: float, expires: float = math.inf, priority: int = 1, owner: Any = None
    ) -> None:
        self.row = row
        self.length = len(row)
        self.arrived = arrived
        self.expires = expires
        self.due = min(arrived + PRIORITY_DELAYS_S[priority], expires)
        self.cancelled = False
        self.priority = priority
        self.owner = owner
        self.alone = False
        self.solo_ms = 0.0
        self.waits = False

    def __repr__(self) -> str:
        return f"Entry({self.length} tokens, due {self.due:.3f})"


class Limits(NamedTuple):
    """Bounds of one batch. ``token_budget`` counts padded tokens: rows times the longest row."""

    token_budget: int
    max_rows: int


class Plan(NamedTuple):
    """The rows to run now, and those that must not run any more. Both empty only when nothing waits."""

    batch: list[Entry]
    dropped: list[Entry]


class Shapes(Protocol):
    """What `plan` asks of a cost model: ``ms`` times ``stretch`` is what the wall clock will say."""

    stretch: float

    def ms(self, rows: int, length: int) -> float: ...


length_of = attrgetter("length")
due_of = attrgetter("due")


def plan(waiting: Sequence[Entry], now: float, cost: Shapes, limits: Limits, idle_lanes: int = 1) -> Plan:
    """Choose the next batch for a lane that is free now; it never waits for more rows to come.

    The row due first is always in the batch, so none starves. Its neighbors in length join as far as they make the
    batch faster than running each row alone, by the learned cost. A row over the budget, or under suspicion, runs
    alone.

    Args:
        waiting: sorted by length.
        now: clock seconds.
        idle_lanes: lanes free now, this one included; what waits is shared out among them.
    """
    kept, dropped = sweep(waiting, now)
    if not kept:
        return Plan([], dropped)
    head = min(kept, key=due_of)
    if head.alone:
        return Plan([head], dropped)
    together = [entry for entry in kept if not entry.alone]
    low, high = choose(together, head, now, cost, limits, idle_lanes)
    return Plan(together[low:high], dropped)


def sweep(waiting: Iterable[Entry], now: float) -> tuple[list[Entry], list[Entry]]:
    """The rows that may still run, and those that must not, both in their order."""
    kept: list[Entry] = []
    dropped: list[Entry] = []
    for entry in waiting:
        (dropped if entry.cancelled or entry.expires <= now else kept).append(entry)
    return kept, dropped


def choose(
    waiting: Sequence[Entry], head: Entry, now: float, cost: Shapes, limits: Limits, idle_lanes: int
) -> tuple[int, int]:
    """The slice of ``waiting`` around ``head`` that runs next; see `plan`."""
    first = bisect_left(waiting, head.length, key=length_of)
    position = next(i for i in range(first, len(waiting)) if waiting[i] is head)
    share = math.ceil(len(waiting) / idle_lanes)
    limits = limits._replace(max_rows=min(limits.max_rows, share))
    time_left_ms = (head.expires - now) * 1e3 / cost.stretch
    if time_left_ms < cost.ms(1, head.length):
        # Too late for it, however small the batch: its neighbors must not pay for that.
        time_left_ms = math.inf
    return _best_slice(waiting, position, cost, limits, time_left_ms)


def _best_slice(
    waiting: Sequence[Entry], position: int, cost: Shapes, limits: Limits, time_left_ms: float
) -> tuple[int, int]:
    """The slice around ``position`` with the highest gain: summed cost of its rows alone over its cost together."""
    start = max(0, position - limits.max_rows)
    nearby = waiting[start : position + limits.max_rows]
    alone = list(accumulate((entry.solo_ms or cost.ms(1, entry.length) for entry in nearby), initial=0.0))
    best, best_gain = (position, position + 1), 1.0
    for high in _ends(waiting, position, limits.max_rows):
        longest = waiting[high - 1].length
        for rows in _sizes(high - position, min(limits.max_rows, high, limits.token_budget // longest)):
            together = cost.ms(rows, longest)
            if together > time_left_ms:
                break
            gain = (alone[high - start] - alone[high - rows - start]) / together
            if gain > best_gain * MIN_GAIN:
                best, best_gain = (high - rows, high), gain
    return best


def _ends(waiting: Sequence[Entry], position: int, max_rows: int) -> list[int]:
    """Where a slice may end: the head's own length first, then a few longer ones."""
    ends: list[int] = []
    end = position + 1
    while len(ends) < 4 and end <= len(waiting) and end - position <= max_rows:
        length = waiting[end - 1].length
        while end < len(waiting) and waiting[end].length == length and end - position < max_rows:
            end += 1
        ends.append(end)
        end += 1
    return ends


def _sizes(least: int, most: int) -> list[int]:
    """Row counts to try, each half as many again as the last; ``most`` itself is always among them."""
    sizes = []
    rows = max(least, 1)
    while rows < most:
        sizes.append(rows)
        rows += max(1, rows // 2)
    if least <= most:
        sizes.append(most)
    return sizes
