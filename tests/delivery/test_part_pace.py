"""Parts of one answer are some time apart; what comes meanwhile is told together, and the end is not late."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from support.told_rig import FakeFlight, Told

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.delivery.chunks import CHUNK_BYTES
from inferstream.pipeline.delivery.part_pace import GATHER_S, PartPace


class Timers:
    """An event loop's timers over a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._waiting: list[tuple[float, Callable[[], None]]] = []

    def later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        due = (self._clock() + delay_s, call)
        self._waiting.append(due)

        class Handle:
            def cancel(handle) -> None:  # noqa: N805
                self._waiting.remove(due)

        return cast(asyncio.TimerHandle, Handle())

    def __len__(self) -> int:
        return len(self._waiting)

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)
        for due in [one for one in self._waiting if one[0] <= self._clock()]:
            due[1]()


class Paced:
    """An answer whose parts are paced, and the flight that makes it."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.timers = Timers(clock)
        self.told = Told(pace=PartPace(GATHER_S, clock, self.timers.later))
        self.flight = FakeFlight()
        self.told.follow(self.flight)

    @property
    def parts(self) -> list[list[Any]]:
        return [json.loads(part.output) for part in self.told.parts]

    def calls(self) -> bool:
        """Whether a lane would wake the event loop for a piece."""
        return len(self.flight.watchers) > self.flight.not_calling


def test_the_first_piece_is_told_at_once_and_those_that_come_soon_after_it_together() -> None:
    paced = Paced()
    paced.flight.bring("a")
    assert paced.parts == [["a"]]
    paced.timers.advance(GATHER_S / 4)
    paced.flight.bring("b")
    assert not paced.calls()
    paced.flight.pieces.append("c")  # nothing is called
    assert paced.parts == [["a"]]
    paced.timers.advance(GATHER_S)
    assert paced.parts == [["a"], ["b", "c"]]
    assert paced.calls()


def test_slow_pieces_are_told_as_they_come_without_a_timer() -> None:
    paced = Paced()
    for piece in "abc":
        paced.timers.advance(GATHER_S)
        paced.flight.bring(piece)
        assert len(paced.timers) == 0
    assert paced.parts == [["a"], ["b"], ["c"]]


def test_what_does_not_fit_into_a_part_does_not_wait() -> None:
    paced = Paced()
    paced.flight.bring(*["x" * (CHUNK_BYTES // 3)] * 10)
    assert len(paced.parts) > 3
    assert len(paced.told.pieces) == 10


def test_at_the_end_nothing_waits_and_the_flight_calls_as_before() -> None:
    paced = Paced()
    paced.flight.bring("a")
    paced.flight.bring("b")
    assert paced.flight.not_calling == 1
    paced.told.chunks.end()
    assert (len(paced.timers), paced.flight.not_calling) == (0, 0)


def test_what_is_handed_over_is_told_at_once() -> None:
    paced = Paced()
    paced.flight.bring("a")
    paced.flight.bring("b")
    paced.told.slot.left = True
    paced.told.chunks.end()
    assert paced.parts == [["a"], ["b"]]
    assert len(paced.timers) == 0


def test_another_attempt_takes_the_timer_from_the_flight_before() -> None:
    paced = Paced()
    paced.flight.bring("a")
    paced.flight.bring("b")
    other = FakeFlight(pieces=["a", "b", "c"])
    paced.told.follow(other)
    assert paced.flight.not_calling == 0
    paced.timers.advance(GATHER_S)
    assert paced.told.pieces == ["a", "b", "c"]
    assert other.not_calling == 0


@given(st.lists(st.tuples(st.floats(0, 2 * GATHER_S), st.integers(1, 3)), max_size=30))
def test_each_piece_is_told_once_and_at_most_the_gathering_time_late(gaps: list[tuple[float, int]]) -> None:
    paced = Paced()
    made = 0
    for gap_s, count in gaps:
        paced.timers.advance(gap_s)
        new = range(made, made + count)
        made += count
        if paced.calls():
            paced.flight.bring(*new)
        else:
            paced.flight.pieces.extend(new)
        assert paced.told.chunks.position == made or len(paced.timers) == 1
    paced.timers.advance(GATHER_S)
    assert paced.told.pieces == list(range(made))
