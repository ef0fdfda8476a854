"""Properties of `choose` for any waiting rows, tested through the reference plan."""

import math
from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import entries as entries_of
from support.reference_plan import BatchPlan, plan

from inferstream.pipeline.engine.batching import (
    PRIORITY_DELAYS_S,
    Entry,
    Limits,
    choose,
    split_runnable,
)
from inferstream.pipeline.engine.cost import KNOTS, Cost

NOW = 100.0
LIMITS = Limits(token_budget=1_024, max_rows=16)
AMPLE = Limits(token_budget=10**9, max_rows=10**6)

positive = st.floats(1e-6, 50)
costs = st.builds(
    Cost,
    st.tuples(positive, positive, positive, st.floats(1e-7, 0.01)),
    st.integers(0, 2**32).map(lambda seed: [*map(Random(seed).uniform, [0.2] * KNOTS, [5.0] * KNOTS)]),
)
limits = st.builds(Limits, st.integers(1, 4_096), st.integers(1, 40))


an_entry = partial(entries_of.an_entry, arrived=NOW)

entries = st.builds(
    an_entry,
    st.integers(1, 300),
    arrived=st.floats(NOW - 10, NOW),
    expires=st.one_of(st.just(math.inf), st.floats(NOW - 1, NOW + 1)),
    priority=st.integers(0, 2),
    cancelled=st.sampled_from([False, False, False, True]),
)
waiting_rows = st.lists(entries, max_size=60).map(lambda found: sorted(found, key=attrgetter("length")))


def alive(waiting: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in waiting if not entry.cancelled and entry.expires > NOW]


def padded(batch: Sequence[Entry]) -> int:
    return len(batch) * max(entry.length for entry in batch)


def ids(found: Sequence[Entry]) -> list[int]:
    return [id(entry) for entry in found]


@given(waiting_rows, costs, limits, st.integers(1, 4))
def test_the_properties_of_a_batch(waiting: list[Entry], cost: Cost, bound: Limits, idle: int) -> None:
    before = list(waiting)
    chosen = plan(waiting, NOW, cost, bound, idle)
    live = alive(waiting)
    assert ids(waiting) == ids(before), "the input is not changed"
    assert chosen == plan(tuple(waiting), NOW, cost, bound, idle), "the same arguments give the same batch"
    assert ids(chosen.dropped) == [id(e) for e in waiting if id(e) not in ids(live)]
    assert bool(chosen.batch) == bool(live), "an idle device never waits"
    if not live:
        return
    assert set(ids(chosen.batch)) <= set(ids(live))
    assert len(set(ids(chosen.batch))) == len(chosen.batch)
    due_first = min(entry.due for entry in live)
    assert due_first in [entry.due for entry in chosen.batch], "the row due first is never passed over"
    assert len(chosen.batch) <= max(1, min(bound.max_rows, math.ceil(len(live) / idle)))
    if len(chosen.batch) > 1:
        assert padded(chosen.batch) <= bound.token_budget
        together = cost.ms(len(chosen.batch), max(entry.length for entry in chosen.batch))
        alone = sum(cost.ms(1, entry.length) for entry in chosen.batch)
        assert together <= alone * (1 + 1e-9), "never slower than one at a time"


@given(waiting_rows, costs, st.floats(0.001, 0.5))
def test_a_batch_ends_before_the_deadline_of_its_head(
    waiting: list[Entry], cost: Cost, left_s: float
) -> None:
    head = an_entry(20, arrived=NOW - 100, expires=NOW + left_s)
    waiting = sorted([*waiting, head], key=attrgetter("length"))
    batch = plan(waiting, NOW, cost, AMPLE).batch
    assert head in batch
    longest = max(entry.length for entry in batch)
    too_late = cost.ms(1, head.length) > left_s * 1e3
    assert too_late or len(batch) == 1 or cost.ms(len(batch), longest) <= left_s * 1e3


def test_a_head_that_is_too_late_does_not_run_alone_while_others_wait() -> None:
    """Under overload the head is always near its deadline: every batch would have one row."""
    cost = Cost((10.0, 0.1, 1e-7, 1e-7))
    waiting = [an_entry(20, arrived=NOW) for _ in range(7)] + [
        an_entry(20, arrived=NOW - 1, expires=NOW + 0.005)
    ]
    assert len(plan(waiting, NOW, cost, AMPLE).batch) == 8


def test_the_deadline_limits_the_size() -> None:
    cost = Cost((1.0, 1.0, 1e-7, 1e-7))
    waiting = [an_entry(8, arrived=NOW - n, expires=NOW + 0.0101) for n in range(40)]
    assert len(plan(waiting, NOW, cost, AMPLE).batch) == 9
    assert len(plan([an_entry(8) for _ in range(40)], NOW, cost, AMPLE).batch) == 40


def test_a_row_over_the_budget_runs_alone() -> None:
    waiting = [*(an_entry(5) for _ in range(5)), an_entry(5_000, arrived=NOW - 1)]
    assert plan(waiting, NOW, Cost(), LIMITS).batch == [waiting[-1]]


@given(st.integers(1, 200), st.integers(0, 10), st.integers(1, 100))
def test_of_many_rows_of_one_length_as_many_run_as_fit(count: int, longer: int, fitting: int) -> None:
    """However many there are: 300 translations of 97 to 109 tokens ran one by one, since 10 fit and more waited."""
    cost = Cost((100.0, 1e-6, 1e-6, 1e-7))
    waiting = [*(an_entry(50, arrived=NOW - 1) for _ in range(count)), *(an_entry(51) for _ in range(longer))]
    batch = plan(waiting, NOW, cost, Limits(51 * fitting, 100)).batch
    assert len(batch) >= min(count, fitting)


@given(st.integers(1, 50), st.integers(1, 4))
def test_idle_lanes_share_what_waits(count: int, lanes: int) -> None:
    waiting = [an_entry(10) for _ in range(count)]
    cost = Cost((100.0, 1e-6, 1e-6, 1e-7))  # as if a batch of any size took the same time
    sizes = []
    for idle in range(lanes, 0, -1):
        batch = plan(waiting, NOW, cost, AMPLE, idle).batch
        waiting = [entry for entry in waiting if entry not in batch]
        sizes.append(len(batch))
    assert sum(sizes) == count, "the last idle lane leaves nothing behind"
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(1, 300), max_size=80), st.integers(1, 300), st.integers(2, 32), positive)
def test_neighbors_of_equal_length_run_without_padding(
    others: list[int], length: int, rows: int, call_ms: float
) -> None:
    head = an_entry(length, arrived=NOW - 20)
    same = [head, *(an_entry(length) for _ in range(rows - 1))]
    waiting = sorted([*map(an_entry, others), *same], key=attrgetter("length"))
    batch = plan(waiting, NOW, Cost((call_ms, 0.01, 0.02, 1e-6)), Limits(10**6, rows)).batch
    assert {entry.length for entry in batch} == {length}


def test_mixed_lengths_are_batched_by_length_if_padding_is_expensive() -> None:
    lengths = [3 + (n * 37) % 200 for n in range(200)]
    waiting = sorted((an_entry(n) for n in lengths), key=attrgetter("length"))
    cost, real, with_padding = Cost((0.2, 0.01, 0.02, 1e-5)), 0, 0
    while waiting:
        batch = plan(waiting, NOW, cost, Limits(1_024, 32)).batch
        waiting = [entry for entry in waiting if entry not in batch]
        real += sum(entry.length for entry in batch)
        with_padding += padded(batch)
    assert with_padding / real < 1.05


def drain(
    arrivals: list[Entry], cost: Cost, bound: Limits, lanes: int = 1
) -> tuple[dict[int, float], list[BatchPlan]]:
    """Simulate lanes over arrivals: when each entry began to run, by id, and every plan made."""
    began: dict[int, float] = {}
    plans: list[BatchPlan] = []
    coming = sorted(arrivals, key=attrgetter("arrived"))
    waiting: list[Entry] = []
    free = [0.0] * lanes
    while coming or waiting:
        now = max(min(free), coming[0].arrived if not waiting else 0.0)
        while coming and coming[0].arrived <= now:
            waiting.append(coming.pop(0))
        waiting.sort(key=attrgetter("length"))
        chosen = plan(waiting, now, cost, bound)
        plans.append(chosen)
        gone = {id(entry) for entry in [*chosen.batch, *chosen.dropped]}
        assert gone, "a plan with waiting rows takes or drops some"
        waiting = [entry for entry in waiting if id(entry) not in gone]
        began.update((id(entry), now) for entry in chosen.batch)
        if chosen.batch:
            took_ms = cost.ms(len(chosen.batch), max(entry.length for entry in chosen.batch))
            free[free.index(min(free))] = now + took_ms / 1e3
    return began, plans


arrivals = st.lists(
    st.builds(an_entry, st.integers(1, 300), arrived=st.floats(0, 8), priority=st.integers(0, 2)),
    min_size=1,
    max_size=60,
)


@given(arrivals, limits)
def test_every_row_runs_soon_after_it_is_due(coming: list[Entry], bound: Limits) -> None:
    cost = Cost((30.0, 5.0, 0.5, 1e-5))
    began, _ = drain(coming, cost, bound)
    assert len(began) == len(coming)
    for entry in coming:
        ahead = [other for other in coming if other.due <= entry.due]
        # Rows due earlier may go first, at worst each in a batch of its own; one batch may have
        # just begun.
        worst_ms = sum(cost.ms(bound.max_rows, 300) for _ in [*ahead, entry])
        assert began[id(entry)] <= entry.due + worst_ms / 1e3


@pytest.mark.parametrize("length", [1, 40, 300])
def test_a_low_priority_runs_under_a_flood_of_high(length: int) -> None:
    """Twice the capacity arrives, all of high priority; the low row runs after its delay."""
    cost = Cost((10.0, 1e-6, 1e-6, 1e-7))  # 100 batches a second
    flood = [an_entry(40, arrived=n / 200, priority=0) for n in range(1_200)]
    low = an_entry(length, arrived=0.0, priority=2)
    began, _ = drain([low, *flood], cost, Limits(1_000, 1))
    older = 200 * PRIORITY_DELAYS_S[2] + 1
    assert PRIORITY_DELAYS_S[2] <= began[id(low)] <= older / 100 + 0.02
    assert began[id(flood[-1])] > began[id(low)]


def test_order_of_arrival_decides_within_a_priority() -> None:
    waiting = [an_entry(10, arrived=NOW - n) for n in range(5)]
    assert plan(waiting, NOW, Cost(), Limits(10**6, 1)).batch == [waiting[4]]


def test_a_high_priority_and_a_near_deadline_overtake() -> None:
    normal, high = an_entry(10, arrived=NOW - 0.1), an_entry(11, priority=0)
    urgent = an_entry(12, expires=NOW + 0.05)
    alone = Limits(10**6, 1)
    assert plan([normal, high], NOW, Cost(), alone).batch == [high]
    assert plan([normal, urgent], NOW, Cost(), alone).batch == [urgent]


class OneGoodShape:
    """A cost by which each batch takes as long as its rows alone, except for one shape, which takes next to nothing."""

    stretch = 1.0

    def __init__(self, rows: int, length: int) -> None:
        self._good = (rows, length)

    def ms(self, rows: int, length: int) -> float:
        return 0.5 if (rows, length) == self._good and rows > 1 else 10.0 * rows


def chosen_slice(
    lengths: Sequence[int], position: int, good: tuple[int, int], **bounds: int
) -> tuple[int, int]:
    waiting = [an_entry(length) for length in lengths]
    return choose(waiting, position, NOW, OneGoodShape(*good), AMPLE._replace(**bounds), 1)


STEPS = {1, 2, 3, 4, 6, 9, 13, 19, 20}
"""From one row on by one half, and all rows."""


@pytest.mark.parametrize("rows", range(1, 21))
def test_the_numbers_of_rows_that_are_tried_grow_by_one_half_up_to_all(rows: int) -> None:
    low, high = chosen_slice([10] * 20, 19, (rows, 10))
    assert (low, high) == (20 - rows if rows in STEPS else 19, 20)


@pytest.mark.parametrize(("bounds", "most"), [({"max_rows": 9}, 9), ({"token_budget": 95}, 9)])
def test_no_batch_is_tried_that_is_over_a_bound(bounds: dict[str, int], most: int) -> None:
    tried = [rows for rows in range(2, 21) if chosen_slice([10] * 20, 19, (rows, 10), **bounds) != (19, 20)]
    assert tried == [rows for rows in sorted(STEPS) if 1 < rows <= most]


@pytest.mark.parametrize("more", range(1, 8))
def test_a_batch_ends_with_the_length_of_its_head_or_one_of_three_longer_ones(more: int) -> None:
    lengths = [3, 5, 5, 5, 7, 7, 9, 11, 13, 15]
    ends = {4, 6, 7, 8}
    high = 2 + more
    found = chosen_slice(lengths, 2, (more, lengths[high - 1]))
    assert found == ((2, high) if high in ends and more > 1 else (2, 3))


def test_rows_of_equal_length_beyond_the_bound_are_left_for_the_next_batch() -> None:
    assert chosen_slice([5] * 10, 2, (3, 5), max_rows=3) == (2, 5)
    assert chosen_slice([5, 5, 7, 7], 0, (2, 5), max_rows=2) == (0, 2)
    assert chosen_slice([5, 7, 7], 0, (2, 7), max_rows=2) == (0, 2)


def test_a_batch_that_ends_at_the_deadline_of_its_head_is_in_time() -> None:
    cost = Cost((1.0, 1.0, 1e-7, 1e-7))
    for count in (2, 5):
        together_s = cost.ms(count, 8) / 1e3
        for left_s, rows in ((together_s * (1 + 1e-9), count), (together_s * (1 - 1e-6), count - 1)):
            waiting = [an_entry(8, arrived=NOW - n, expires=NOW + left_s) for n in range(count)]
            low, high = choose(waiting, count - 1, NOW, cost, AMPLE, 1)
            assert high - low == rows


@pytest.mark.parametrize(("left_s", "dropped"), [(-1.0, True), (0.0, True), (1e-6, False), (math.inf, False)])
def test_a_row_may_run_before_its_deadline_and_not_at_it(left_s: float, dropped: bool) -> None:
    entry, gone = an_entry(1, expires=NOW + left_s), an_entry(1, expires=NOW + left_s, cancelled=True)
    assert split_runnable([entry, gone], NOW) == (([], [entry, gone]) if dropped else ([entry], [gone]))
    assert entry.judged == (NOW + left_s if dropped else -math.inf), "by which deadline it was too late"
    assert gone.judged == -math.inf


@pytest.mark.parametrize("priority", range(3))
def test_a_row_is_due_after_the_delay_of_its_priority_or_at_its_deadline(priority: int) -> None:
    delay_s = PRIORITY_DELAYS_S[priority]
    assert an_entry(1, priority=priority).due == NOW + delay_s
    assert an_entry(1, priority=priority, expires=NOW + delay_s / 2).due == NOW + delay_s / 2
