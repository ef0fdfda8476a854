"""A plan that reads all waiting rows: the batcher must take the same batches."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from inferstream.pipeline.engine.batching import Entry, Limits, ShapeCost, choose, split_runnable

due_of = attrgetter("due")


class BatchPlan(NamedTuple):
    """The rows to run now, and those to drop. Both are empty only if nothing waits."""

    batch: list[Entry]
    dropped: list[Entry]


def plan(
    waiting: Sequence[Entry], now: float, cost: ShapeCost, limits: Limits, idle_lanes: int = 1
) -> BatchPlan:
    """The next batch for a free lane; ``waiting`` is sorted by length."""
    runnable, dropped = split_runnable(waiting, now)
    if not runnable:
        return BatchPlan([], dropped)
    head = min(runnable, key=due_of)
    if head.alone:
        return BatchPlan([head], dropped)
    together = [entry for entry in runnable if not entry.alone]
    position = next(number for number, entry in enumerate(together) if entry is head)
    low, high = choose(together, position, now, cost, limits, idle_lanes)
    return BatchPlan(together[low:high], dropped)
