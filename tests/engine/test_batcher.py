"""The waiting room gives out what `plan` would choose, everything once, and what must not run never."""

import math
from collections.abc import Sequence
from operator import attrgetter

from hypothesis import given
from hypothesis import strategies as st
from support.entries import an_entry
from support.reference_plan import plan

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import PRIORITY_DELAYS_S, Entry, Limits
from inferstream.pipeline.engine.cost import Cost

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


class Room:
    """A batcher whose clock stands still, and what it dropped."""

    def __init__(self, limits: Limits = SMALL) -> None:
        self.clock, self.limits = FakeClock(START), limits
        self.dropped: list[Entry] = []
        self.batcher = Batcher(COST, limits, self.clock, self.dropped.extend)

    def put(self, *entries: Entry) -> None:
        self.batcher.put(entries)

    def take_all(self) -> list[list[Entry]]:
        self.batcher.close()
        return list(iter(self.batcher.take, None))


def is_late(entry: Entry) -> bool:
    """Whether it could not end in time even if it ran now, and alone."""
    return START + COST.ms(1, entry.length) / 1e3 > entry.expires


def ids(entries: Sequence[Entry]) -> list[int]:
    return [id(entry) for entry in entries]


lengths = st.integers(1, 300)
limits = st.builds(Limits, st.integers(1, 4_096), st.integers(1, 40))
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
def test_the_batches_are_those_of_the_plan(entries: list[Entry], bound: Limits) -> None:
    room = Room(bound)
    room.put(*entries)
    waiting = sorted(entries, key=attrgetter("length"))
    for batch in room.take_all():
        expected = plan(waiting, START, COST, bound).batch
        assert ids(batch) == ids(expected)
        waiting = [entry for entry in waiting if entry not in batch]
    assert waiting == []


@given(st.lists(st.lists(any_entry, max_size=12), max_size=6), limits)
def test_each_row_runs_once_or_is_dropped_once(arrivals: list[list[Entry]], bound: Limits) -> None:
    room, taken = Room(bound), []
    for entries in arrivals:
        room.put(*entries)
        if any(not entry.cancelled and not is_late(entry) for entry in entries):
            taken.append(room.batcher.take() or [])
    taken += room.take_all()
    everything = [entry for entries in arrivals for entry in entries]
    must_not = [entry for entry in everything if entry.cancelled or entry.expires <= START]
    ran = [entry for batch in taken for entry in batch]
    assert sorted(ids([*ran, *room.dropped])) == sorted(ids(everything))
    assert not set(ids(ran)) & set(ids(must_not))
    assert all(entry.cancelled or is_late(entry) for entry in room.dropped)
    for batch in taken:
        assert len(batch) == 1 or not any(entry.alone for entry in batch)
        assert len(batch) == 1 or len(batch) * max(map(len, (e.row for e in batch))) <= bound.token_budget
    assert (len(room.batcher), [room.batcher.backlog_ms(level) for level in range(3)]) == (0, [0.0] * 3)


def test_rows_that_are_too_late_make_room_and_the_last_one_runs_all_the_same() -> None:
    """Were what is predicted too long, and all dropped for it, nothing would run and correct it."""
    room = Room()
    late = [an_aged_entry(100, left=COST.ms(1, 100) / 2e3) for _ in range(20)]
    room.put(*late)
    assert [len(batch) for batch in room.take_all()] == [1]
    assert len(room.dropped) == 19


def test_who_is_joined_by_somebody_with_more_time_is_not_too_late() -> None:
    room = Room()
    entries = [an_aged_entry(100, left=COST.ms(1, 100) / 2e3) for _ in range(2)]
    room.put(*entries)
    for entry in entries:
        entry.expires = math.inf
    assert sum(map(len, room.take_all())) == 2
    assert room.dropped == []


def test_rows_that_hurry_go_first_from_then_on() -> None:
    room = Room(Limits(10**6, 1))
    patient, normal = an_aged_entry(10, priority=LOW), an_aged_entry(20, priority=NORMAL)
    room.put(patient, normal)
    patient.due = START + PRIORITY_DELAYS_S[HIGH]
    room.batcher.reschedule([patient])
    assert room.take_all() == [[patient], [normal]]


def test_to_hurry_what_does_not_wait_changes_nothing() -> None:
    room = Room(Limits(10**6, 1))
    early, late = an_aged_entry(10), an_aged_entry(20)
    room.batcher.reschedule([late])  # its rows are made and not yet put
    room.put(early)
    assert room.batcher.take() == [early]
    room.batcher.reschedule([early])  # it runs already
    room.put(late)
    assert room.take_all() == [[late]]


def test_the_backlog_counts_what_goes_before() -> None:
    room = Room()
    for priority, length in ((HIGH, 10), (NORMAL, 20), (LOW, 40)):
        room.put(an_aged_entry(length, priority=priority))
    before = [room.batcher.backlog_ms(priority) for priority in (HIGH, NORMAL, LOW)]
    solo = [COST.ms(1, length) for length in (10, 20, 40)]
    assert before == [solo[0], sum(solo[:2]), sum(solo)]


def test_nobody_starves_under_a_flood() -> None:
    """Twice what the device can do arrives, all of it more urgent; patience runs out all the same."""
    room, low = Room(Limits(1_000, 1)), an_aged_entry(60, priority=LOW)
    room.put(low)
    for _ in range(1_200):  # two arrive for each that runs; 100 run in a second
        for _ in range(2):
            room.put(an_entry(40, arrived=room.clock(), priority=HIGH))
        if room.batcher.take() == [low]:
            break
        room.clock.advance(0.01)
    assert START + PRIORITY_DELAYS_S[LOW] <= room.clock() < START + 2 * PRIORITY_DELAYS_S[LOW] + 0.05
