"""Which rows run together next: pure functions of the rows, the time and the learned cost."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..runtime.model import Row

if TYPE_CHECKING:
    from .flight import Flight

PRIORITY_DELAYS_S = (0.0, 0.25, 5.0)
"""Seconds from a row's arrival until it is due, for priority high, normal and low.

The row due first is the head of the next batch. A low row is due before every high row that arrives
5 s after it, so none starves. `Entry.due` is fixed at arrival and only becomes earlier, if a more
urgent request joins the flight.
"""

MIN_GAIN = 1.01
"""Required gain of a larger batch; less is within the error of the cost model."""


class Entry:
    """One row of a flight, on its way through the batcher to a lane.

    ``arrived``, ``expires`` and ``due`` are clock seconds. ``arrived`` of a row that is not the
    first of its text (``later``) lies behind the arrival of the text, see `Batcher.arrivals`.

    An entry that is ``alone`` shares no batch: its content was on the device when a process died.
    ``solo_ms`` is the predicted cost of its next step alone, ``further_ms`` that of all steps behind
    it. A row that is dropped as too late keeps in ``judged`` the deadline by which it was.
    ``paused``: its answer is not read as fast as it is made, see `Parking`.
    ``steps`` counts the steps that have run, the first of them at ``ran_at``. ``pieces`` wait until
    the rows before it in its request have ended. ``most_steps`` are those that it may take of the last phase.
    Writers: the flight (``expires``, ``due``, ``cancelled``, ``paused``), the batcher under its lock (``solo_ms``,
    ``further_ms``, ``most_steps``, ``waiting``, ``taken``, ``rank``, ``booked``), the lane that has taken it (all
    others).
    """

    __slots__ = (
        "alone",
        "arrived",
        "booked",
        "cancelled",
        "due",
        "expires",
        "flight",
        "further_ms",
        "has_output",
        "judged",
        "later",
        "length",
        "most_steps",
        "output",
        "paused",
        "phase",
        "pieces",
        "priority",
        "ran_at",
        "rank",
        "row",
        "solo_ms",
        "steps",
        "taken",
        "waiting",
    )
    output: Any

    def __init__(self, row: Row, flight: "Flight", *, arrived: float, later: bool = False) -> None:
        self.row = row
        self.flight = flight
        self.phase = row.phase
        self.length = row.length
        self.arrived = arrived
        self.expires = flight.expires
        self.priority = flight.priority
        self.due = flight.due(arrived)
        self.alone = flight.suspect
        self.cancelled = False
        self.paused = False
        self.solo_ms = 0.0
        self.further_ms = 0.0
        self.most_steps = 0.0
        self.steps = 0
        self.ran_at = 0.0
        self.pieces: list[Any] | None = None
        self.has_output = False
        self.later = later
        self.waiting = False
        self.taken = False
        self.rank = 0
        self.booked = 0.0
        self.judged = -math.inf

    def __repr__(self) -> str:
        return f"Entry({self.length} tokens, due {self.due:.3f})"


class Limits(NamedTuple):
    """Bounds of one batch. ``token_budget`` counts padded tokens: rows times the longest row.

    ``max_running`` bounds the rows of a lane that are between two steps: they hold memory of the
    device. ``all_held``: in a step, too, each row has such memory, also if it is its only one.
    """

    token_budget: int
    max_rows: int
    max_running: int = 256
    all_held: bool = False


class BatchStats(NamedTuple):
    """One batch that ran, for the metrics. ``ms`` is wall time, ``device_ms`` that of the lanes' stopwatch.

    ``prompt_tokens``: of a model that reads prompts in a phase of its own, those that are read now, of which ``kept``
    were there already.
    """

    rows: int
    tokens: int
    padded_tokens: int
    ms: float
    prompt_tokens: int = 0
    kept: int = 0
    device_ms: float = 0.0


class ShapeCost(Protocol):
    """A cost model, as `choose` needs it: ``ms`` times ``stretch`` is the predicted wall time."""

    stretch: float

    def ms(self, rows: int, length: int) -> float: ...

    def length(self, row: Row) -> int: ...

    def steps(self, most: float, left: float) -> float: ...

    def observe_steps(self, most: float, made: float) -> None: ...


length_of = attrgetter("length")
rank_of = attrgetter("rank")
"""See `PhaseQueue`. No two rows have the same one, so a row is found without reading its equals."""


def split_runnable(entries: Iterable[Entry], now: float) -> tuple[list[Entry], list[Entry]]:
    """The rows that may run, and those that are cancelled or expired, both in their order."""
    runnable: list[Entry] = []
    dropped: list[Entry] = []
    for entry in entries:
        expires = entry.expires  # read once: a request may join just now, with a later deadline
        if entry.cancelled:
            dropped.append(entry)
        elif expires <= now:
            entry.judged = expires
            dropped.append(entry)
        else:
            runnable.append(entry)
    return runnable, dropped


def choose(
    waiting: Sequence[Entry], position: int, now: float, cost: ShapeCost, limits: Limits, idle_lanes: int
) -> tuple[int, int]:
    """Choose the next batch for a free lane: the slice (low, high) of ``waiting`` around its head.

    It never waits for more rows. Neighbors in length join the head as long as the batch is faster
    than running each row alone, by the learned cost. A head over the token budget runs alone.

    Args:
        waiting: sorted by length.
        position: of the head in ``waiting``: the row that must be in the batch.
        now: clock seconds.
        idle_lanes: free lanes, this one included; the waiting rows are shared out among them.
    """
    head = waiting[position]
    share = math.ceil(len(waiting) / idle_lanes)
    limits = limits._replace(max_rows=min(limits.max_rows, share))
    time_left_ms = (head.expires - now) * 1e3 / cost.stretch
    if time_left_ms < cost.ms(1, head.length):
        # Too late for the head in any batch: a small batch would only delay its neighbors.
        time_left_ms = math.inf
    return _best_slice(waiting, position, cost, limits, time_left_ms)


def _best_slice(
    waiting: Sequence[Entry], position: int, cost: ShapeCost, limits: Limits, time_left_ms: float
) -> tuple[int, int]:
    """The slice around ``position`` with the highest gain.

    The gain is the summed solo cost of its rows over the cost of the batch.
    """
    start = max(0, position - limits.max_rows)
    nearby = waiting[start : position + limits.max_rows]
    alone = list(accumulate((entry.solo_ms or cost.ms(1, entry.length) for entry in nearby), initial=0.0))
    best, best_gain = (position, position + 1), 1.0
    for high in _ends(waiting, position, limits):
        longest = waiting[high - 1].length
        for rows in _sizes(high - position, min(limits.max_rows, high, limits.token_budget // longest)):
            together = cost.ms(rows, longest)
            if together > time_left_ms:
                break
            gain = (alone[high - start] - alone[high - rows - start]) / together
            if gain > best_gain * MIN_GAIN:
                best, best_gain = (high - rows, high), gain
    return best


def _ends(waiting: Sequence[Entry], position: int, limits: Limits) -> list[int]:
    """Where a slice may end: the head's own length first, then a few longer ones.

    Of one length as many rows as fit behind the head: an end beyond them would leave no slice.
    """
    ends: list[int] = []
    end = position + 1
    while len(ends) < 4 and end <= len(waiting) and end - position <= limits.max_rows:
        length = waiting[end - 1].length
        room = min(limits.max_rows, limits.token_budget // length)
        while end < len(waiting) and waiting[end].length == length and end - position < room:
            end += 1
        ends.append(end)
        end += 1
    return ends


def _sizes(low: int, high: int) -> list[int]:
    """Row counts to try: from ``low`` in steps of one half, and always ``high``."""
    sizes = []
    rows = max(low, 1)
    while rows < high:
        sizes.append(rows)
        rows += max(1, rows // 2)
    if low <= high:
        sizes.append(high)
    return sizes
