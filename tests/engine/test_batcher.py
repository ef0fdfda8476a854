"""The batcher's batches are those of the reference plan; each row is taken or dropped once."""

import math
import queue
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import a_flight, an_entry
from support.reference_plan import plan

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.account import Account
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import PRIORITY_DELAYS_S, Entry, Limits
from inferstream.pipeline.engine.carried import Carried
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.expected_work import LATER_SHARE, ExpectedWork
from inferstream.pipeline.engine.phase_queue import PhaseQueue
from inferstream.pipeline.engine.tenant_work import BUCKET_S
from inferstream.pipeline.runtime.model import RUN, Row

START = 1_000.0
COST = Cost((1.0, 0.05, 0.02, 1e-5))
HIGH, NORMAL, LOW = range(3)
SMALL = Limits(1_024, 16)


def an_aged_entry(
    length: int,
    *,
    age: float = 0.0,
    left: float = math.inf,
    priority: int = NORMAL,
    alone: bool = False,
    cancelled: bool = False,
) -> Entry:
    """A row that arrived ``age`` seconds before `START` and expires ``left`` seconds after it."""
    return an_entry(
        length,
        arrived=START - age,
        expires=START + left,
        priority=priority,
        alone=alone,
        cancelled=cancelled,
    )


class BatcherRig:
    """A batcher with a fake clock, and the rows that it dropped."""

    def __init__(self, limits: Limits = SMALL) -> None:
        self.clock = FakeClock(START)
        self.dropped: list[Entry] = []
        self.batcher = Batcher({RUN: PhaseQueue(COST, limits)}, self.clock, self.dropped.extend)

    def put(self, *entries: Entry) -> None:
        self.batcher.put(entries)

    def take_all(self) -> list[list[Entry]]:
        self.batcher.close()
        return list(iter(partial(self.batcher.take, Carried()), None))


def is_late(entry: Entry) -> bool:
    """Whether it would miss its deadline even if it ran alone now."""
    return START + COST.ms(1, entry.length) / 1e3 > entry.expires


def until_asleep(*lanes: threading.Thread) -> None:
    """Wait until each of these threads waits for rows."""
    end = time.monotonic() + 10
    while any(sys._current_frames()[lane.ident or 0].f_code.co_name != "wait" for lane in lanes):
        assert time.monotonic() < end
        time.sleep(0.001)


def ids(entries: Sequence[Entry]) -> list[int]:
    return [id(entry) for entry in entries]


lengths = st.integers(1, 300)
limits = st.builds(
    Limits, st.integers(1, 4_096), st.integers(1, 40), max_running=st.just(256), all_held=st.just(False)
)
living = st.builds(an_aged_entry, lengths, age=st.floats(0, 10), priority=st.integers(0, 2))
any_entry = st.builds(
    an_aged_entry,
    lengths,
    age=st.floats(0, 10),
    left=st.one_of(st.just(math.inf), st.floats(-1, 1)),
    priority=st.integers(0, 2),
    alone=st.sampled_from([False, False, False, True]),
    cancelled=st.sampled_from([False, False, False, True]),
)


@given(st.lists(living, max_size=60, unique_by=attrgetter("due")), limits)
def test_the_batches_are_those_of_the_reference_plan(entries: list[Entry], bound: Limits) -> None:
    rig = BatcherRig(bound)
    rig.put(*entries)
    waiting = sorted(entries, key=attrgetter("length", "due"))
    for batch in rig.take_all():
        expected = plan(waiting, START, COST, bound).batch
        assert ids(batch) == ids(expected)
        waiting = [entry for entry in waiting if entry not in batch]
    assert waiting == []


@given(st.lists(st.lists(any_entry, max_size=12), max_size=6), limits)
def test_each_row_runs_once_or_is_dropped_once(arrivals: list[list[Entry]], bound: Limits) -> None:
    rig, taken = BatcherRig(bound), []
    for entries in arrivals:
        rig.put(*entries)
        if any(not entry.cancelled and not is_late(entry) for entry in entries):
            taken.append(rig.batcher.take(Carried()) or [])
    taken += rig.take_all()
    everything = [entry for entries in arrivals for entry in entries]
    must_not = [entry for entry in everything if entry.cancelled or entry.expires <= START]
    ran = [entry for batch in taken for entry in batch]
    assert sorted(ids([*ran, *rig.dropped])) == sorted(ids(everything))
    assert not set(ids(ran)) & set(ids(must_not))
    assert all(entry.cancelled or is_late(entry) for entry in rig.dropped)
    for batch in taken:
        assert len(batch) == 1 or not any(entry.alone for entry in batch)
        assert len(batch) == 1 or len(batch) * max(entry.length for entry in batch) <= bound.token_budget
    assert (len(rig.batcher), rig.batcher.backlog_ms) == (0, 0.0)


def test_rows_that_are_too_late_are_dropped_except_the_last() -> None:
    """If predictions were too pessimistic and every row was dropped, no run could correct them."""
    rig = BatcherRig()
    late = [an_aged_entry(100, left=COST.ms(1, 100) / 2e3) for _ in range(20)]
    rig.put(*late)
    assert [len(batch) for batch in rig.take_all()] == [1]
    assert len(rig.dropped) == 19


def test_a_row_whose_deadline_was_extended_is_not_too_late() -> None:
    rig = BatcherRig()
    entries = [an_aged_entry(100, left=COST.ms(1, 100) / 2e3) for _ in range(2)]
    rig.put(*entries)
    for entry in entries:
        entry.expires = math.inf
    assert sum(map(len, rig.take_all())) == 2
    assert rig.dropped == []


@pytest.mark.parametrize("has_run", [True, False], ids=["has run", "has more time now"])
def test_a_row_that_is_not_late_hides_no_longer_one_that_is(has_run: bool) -> None:
    """A long row can be too late before a short one with an earlier deadline."""
    rig = BatcherRig(Limits(10**6, 1))
    short_s, long_s = COST.ms(1, 10) / 1e3, COST.ms(1, 300) / 1e3
    first = an_aged_entry(10, age=5, left=1.0)
    late = an_aged_entry(300, left=1.0 + long_s / 2)
    other = an_aged_entry(20)
    rig.put(first, late, other)
    if has_run:
        assert rig.batcher.take(Carried()) == [first]
        rig.clock.advance(1.0 - 2 * short_s)
    else:
        first.expires = math.inf  # a request has joined
        rig.clock.advance(1.0)
    assert rig.batcher.take(Carried()) == [other if has_run else first]
    assert rig.dropped == [late]


def test_a_rescheduled_row_goes_first() -> None:
    rig = BatcherRig(Limits(10**6, 1))
    patient, normal = an_aged_entry(10, priority=LOW), an_aged_entry(20, priority=NORMAL)
    rig.put(patient, normal)
    patient.due = START + PRIORITY_DELAYS_S[HIGH]
    rig.batcher.reschedule([patient])
    assert rig.take_all() == [[patient], [normal]]


def test_rescheduling_a_row_that_does_not_wait_changes_nothing() -> None:
    rig = BatcherRig(Limits(10**6, 1))
    early, late = an_aged_entry(10), an_aged_entry(20)
    rig.batcher.reschedule([late])  # made, not put yet
    rig.put(early)
    assert rig.batcher.take(Carried()) == [early]
    rig.batcher.reschedule([early])  # already taken
    rig.put(late)
    assert rig.take_all() == [[late]]


def test_a_low_priority_is_not_starved_by_a_flood_of_high() -> None:
    """Twice the capacity arrives, all of high priority; the low row runs after its delay."""
    rig, low = BatcherRig(Limits(1_000, 1)), an_aged_entry(60, priority=LOW)
    rig.put(low)
    for _ in range(1_200):  # two arrive for each that runs; 100 run in a second
        for _ in range(2):
            rig.put(an_entry(40, arrived=rig.clock(), priority=HIGH))
        if rig.batcher.take(Carried()) == [low]:
            break
        rig.clock.advance(0.01)
    assert START + PRIORITY_DELAYS_S[LOW] <= rig.clock() < START + 2 * PRIORITY_DELAYS_S[LOW] + 0.05


steps = st.lists(st.tuples(st.lists(any_entry, max_size=6), st.sampled_from([0.0, 0.05, 0.5])), max_size=8)


@given(steps)
def test_rows_that_would_be_late_even_alone_never_run_while_others_wait(
    arrivals: list[tuple[list[Entry], float]],
) -> None:
    rig = BatcherRig()
    here: list[Entry] = []
    for entries, later_s in arrivals:
        rig.put(*entries)
        here += entries
        rig.clock.advance(later_s)
        if not any(not entry.cancelled and entry.expires == math.inf for entry in here):
            continue  # it would wait for a row that can run
        batch = rig.batcher.take(Carried()) or []
        now = rig.clock()
        left = [entry for entry in here if not entry.alone and entry not in rig.dropped]
        late = [e for e in left if e.expires - COST.ms(1, e.length) * COST.stretch / 1e3 < now]
        assert not late or len(left) == 1
        here = [entry for entry in here if entry not in batch and entry not in rig.dropped]


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_idle_lanes_share_what_arrives(lanes: int) -> None:
    rig = BatcherRig(Limits(10**6, 64))
    batches: queue.Queue[list[Entry] | None] = queue.Queue()
    threads = [
        threading.Thread(target=lambda: batches.put(rig.batcher.take(Carried()))) for _ in range(lanes)
    ]
    assert rig.batcher.busy
    for thread in threads:
        thread.start()
    until_asleep(*threads)
    assert not rig.batcher.busy
    rig.put(*(an_aged_entry(10) for _ in range(lanes * 4)))
    for thread in threads:
        thread.join(10)
    assert [len(batches.get(timeout=10) or []) for _ in threads] == [4] * lanes
    assert rig.batcher.busy
    assert rig.take_all() == []


@pytest.mark.parametrize(("partial", "rows"), [(True, [8]), (False, [4, 4])])
def test_partials_share_one_batch_however_many_lanes_are_idle(partial: bool, rows: list[int]) -> None:
    phase = PhaseQueue(COST, SMALL)
    entries = [an_entry(10) for _ in range(8)]
    for number, entry in enumerate(entries):
        entry.flight.partial = partial
        phase.put(entry, number)
    taken = [
        len(phase.take_batch(phase.waiting[0], START, idle_lanes, running=0))
        for idle_lanes in (2, 1)
        if phase.waiting
    ]
    assert taken == rows


def test_a_lane_without_work_sleeps() -> None:
    rig = BatcherRig()
    asked, clock = 0, rig.clock

    def counted() -> float:
        nonlocal asked
        asked += 1
        return clock()

    rig.batcher = Batcher({RUN: PhaseQueue(COST, SMALL)}, counted, rig.dropped.extend)
    lane = threading.Thread(target=rig.batcher.take, args=(Carried(),))
    lane.start()
    until_asleep(lane)
    lane.join(0.05)
    rig.put(an_aged_entry(10))
    lane.join(10)
    assert not lane.is_alive()
    assert asked < 10


def test_a_closed_batcher_ends_its_lanes() -> None:
    rig = BatcherRig()
    ended: queue.Queue[list[Entry] | None] = queue.Queue()
    lanes = [threading.Thread(target=lambda: ended.put(rig.batcher.take(Carried()))) for _ in range(3)]
    for lane in lanes:
        lane.start()
    until_asleep(*lanes)
    rig.batcher.close()
    assert [ended.get(timeout=10) for _ in lanes] == [None] * 3


def test_rows_that_are_cancelled_or_expired_are_dropped_and_the_lane_waits_on() -> None:
    rig = BatcherRig()
    gone = [an_aged_entry(10, cancelled=True), an_aged_entry(20, left=-1)]
    rig.put(*gone)
    taken: queue.Queue[list[Entry] | None] = queue.Queue()
    lane = threading.Thread(target=lambda: taken.put(rig.batcher.take(Carried())))
    lane.start()
    until_asleep(lane)
    runs = an_aged_entry(10)
    rig.put(runs)
    assert taken.get(timeout=10) == [runs]
    assert sorted(ids(rig.dropped)) == sorted(ids(gone))


def test_the_token_budget_halves_to_what_did_not_fit_and_grows_back_by_a_hundredth_at_most() -> None:
    rig = BatcherRig(Limits(1_000, 16))
    budgets = []
    for padded_tokens in (1_001, 3, 1, 800):
        rig.batcher.phases[RUN].shrink(padded_tokens)
        budgets.append(rig.batcher.phases[RUN].limits.token_budget)
    assert budgets == [500, 1, 1, 1], "a larger batch that fails does not raise it"
    for _ in range(31):
        rig.batcher.recover(RUN)
    assert rig.batcher.phases[RUN].limits == Limits(1, 16), "a small one by a 32nd of itself"
    for _ in range(300):
        before = rig.batcher.phases[RUN].limits.token_budget
        rig.batcher.recover(RUN)
        assert 0 <= rig.batcher.phases[RUN].limits.token_budget - before <= 10
    assert rig.batcher.phases[RUN].limits == Limits(1_000, 16)
    small = BatcherRig(Limits(20, 16))
    small.batcher.phases[RUN].shrink(20)
    for _ in range(4):
        small.batcher.recover(RUN)
    assert small.batcher.phases[RUN].limits.token_budget == 11


def test_rows_that_run_alone_and_others_are_counted() -> None:
    rig = BatcherRig()
    rig.put(an_aged_entry(10), an_aged_entry(10, alone=True), an_aged_entry(30, alone=True))
    assert len(rig.batcher) == 3
    assert rig.batcher.backlog_ms == pytest.approx(2 * COST.ms(1, 10) + COST.ms(1, 30))
    assert [len(batch) for batch in rig.take_all()] == [1, 1, 1]
    assert (len(rig.batcher), rig.batcher.backlog_ms) == (0, 0.0)


def test_a_text_that_is_not_tokenized_yet_counts_by_an_estimate_until_it_is() -> None:
    rig = BatcherRig()
    flight = a_flight(batcher=rig.batcher, started_at=START)
    for characters, rows in ((100, 1), (3_000, 3)):
        flight.size = characters
        row_ms = COST.ms(1, min(256, characters // 4 + 2))
        rig.batcher.expected.expect(flight)
        assert rig.batcher.backlog_ms == pytest.approx(rows * row_ms)
        assert rig.batcher.expected.later_rows_ms(characters) == pytest.approx((rows - 1) * row_ms)
        rig.batcher.expected.settle(flight)
        assert rig.batcher.backlog_ms == 0.0
    rig.batcher.expected.expect(flight)
    rig.batcher.expected.settle(flight, [Row([0] * length) for length in (100, 100, 50)])
    assert rig.batcher.backlog_ms == 0.0
    assert rig.batcher.expected.later_rows_ms(100) == 0.0
    expected_ms = 7 * COST.ms(1, 100)
    assert rig.batcher.expected.later_rows_ms(3_000) == pytest.approx(expected_ms), "8 rows of 100 tokens now"


def test_the_later_rows_of_a_text_are_expected_behind_those_that_wait() -> None:
    batcher = BatcherRig().batcher
    flight = a_flight(batcher=batcher, started_at=START)
    rows = [Row([7] * 200) for _ in range(101)]
    for number, arrived in enumerate(batcher.expected.arrivals(flight, rows)):
        batcher.put([Entry(rows[number], flight, arrived=arrived, later=number > 0)])
    waiting_ms = batcher.backlog_ms
    flight.size = 300_000
    batcher.expected.expect(flight)
    all_ms = batcher.backlog_ms
    rate_ms = 1e3 * LATER_SHARE  # in a second
    until = START + PRIORITY_DELAYS_S[NORMAL] + (waiting_ms - COST.ms(1, 200)) / rate_ms
    assert batcher.before_ms("", NORMAL, until - BUCKET_S) <= waiting_ms + COST.ms(1, 256)
    until += batcher.expected.later_rows_ms(300_000) / rate_ms
    assert batcher.before_ms("", NORMAL, until - 2 * BUCKET_S) < all_ms
    assert batcher.before_ms("", NORMAL, until + BUCKET_S) == pytest.approx(all_ms)


def test_other_work_on_the_cores_leaves_more_time_between_the_later_rows_of_a_text() -> None:
    """They are due by what the device does in a second, not by what it could do alone: short texts run in between."""
    flight = a_flight(batcher=BatcherRig().batcher, started_at=START)
    rows = [Row([7] * 200) for _ in range(11)]
    cost = Cost()
    expected = ExpectedWork(Account(), threading.Condition(), cost, 1)
    alone = expected.arrivals(flight, rows)[-1] - START
    cost.stretch = 3.0
    assert expected.arrivals(flight, rows)[-1] - START == pytest.approx(3 * alone)
    cost.stretch = 0.5  # faster than predicted: a short text may come at any time
    assert expected.arrivals(flight, rows)[-1] - START == pytest.approx(alone)
