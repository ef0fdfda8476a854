"""Everyone who waits for a flight is equal: whoever leaves takes nothing along."""

import asyncio
import math
from collections.abc import Callable

import pytest
from support.echo import Echo

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import Entry
from inferstream.pipeline.engine.flights import Flight, Flights
from inferstream.pipeline.errors import DeadlineExceeded, DeviceError

KEY = b"k"
HIGH, NORMAL, LOW = range(3)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def flights(clock: FakeClock) -> Flights:
    return Flights(clock)


def a_flight(flights: Flights, clock: Callable[[], float], *, expires: float = math.inf) -> Flight:
    flight = Flight(KEY, Echo(), "text", None, clock(), expires)
    flight.board([Entry([1], arrived=clock(), expires=expires, owner=flight)], clock())
    flights.start(flight)
    return flight


async def seated(flights: Flights, flight: Flight, count: int) -> list["asyncio.Task[Flight]"]:
    """Tasks that wait for the flight, all of them begun."""
    waiting = [asyncio.create_task(flights.wait(flight, math.inf)) for _ in range(count)]
    await asyncio.sleep(0)
    return waiting


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_whoever_leaves_takes_nothing_along(flights: Flights, clock: FakeClock, leaver: int) -> None:
    flight = a_flight(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    flights.join(KEY, math.inf, NORMAL)
    waiting = await seated(flights, flight, 3)
    waiting[leaver].cancel()
    await asyncio.wait([waiting[leaver]])
    assert not flight.entries[0].cancelled
    flight.result = b"answer"
    flights.land(flight)
    del waiting[leaver]
    assert [(await task).result for task in waiting] == [b"answer"] * 2
    assert len(flights) == 0


async def test_when_all_have_left_the_rows_are_dropped(flights: Flights, clock: FakeClock) -> None:
    flight = a_flight(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    for task in await seated(flights, flight, 2):
        assert not flight.entries[0].cancelled
        task.cancel()
        await asyncio.wait([task])
    assert flight.entries[0].cancelled
    assert flights.join(KEY, math.inf, NORMAL) is None, "whoever comes now starts anew"


async def test_rows_that_board_after_all_have_left_are_dropped(flights: Flights, clock: FakeClock) -> None:
    flight = Flight(KEY, Echo(), "text", None, clock(), math.inf)
    flights.start(flight)
    (task,) = await seated(flights, flight, 1)
    task.cancel()
    await asyncio.wait([task])
    flight.board([Entry([1], arrived=clock())], clock())
    assert flight.entries[0].cancelled


async def test_an_error_is_shared_and_not_kept(flights: Flights, clock: FakeClock) -> None:
    flight = a_flight(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    waiting = await seated(flights, flight, 2)
    flight.result = DeviceError("broken")
    flights.land(flight)
    for task in waiting:
        with pytest.raises(DeviceError, match="broken"):
            await task
    assert flights.join(KEY, math.inf, NORMAL) is None


async def test_each_has_its_own_deadline(flights: Flights, clock: FakeClock) -> None:
    flight = a_flight(flights, clock, expires=clock() + 0.01)
    flights.join(KEY, math.inf, NORMAL)
    patient = asyncio.create_task(flights.wait(flight, math.inf))
    with pytest.raises(DeadlineExceeded):
        await flights.wait(flight, clock() + 0.01)
    assert flight.entries[0].expires == math.inf
    assert not flight.entries[0].cancelled
    flight.result = b"answer"
    flights.land(flight)
    assert (await patient).result == b"answer"


@pytest.mark.parametrize("error", [None, DeviceError("broken")])
async def test_who_begins_to_wait_after_the_landing_is_not_forgotten(
    flights: Flights, clock: FakeClock, error: DeviceError | None
) -> None:
    """A request joins, and before its task has its first turn the flight lands."""
    flight = a_flight(flights, clock)
    joined = flights.join(KEY, math.inf, NORMAL)
    assert joined is flight
    waiting = asyncio.create_task(flights.wait(flight, math.inf))
    flight.result = error or b"answer"
    flights.land(flight)
    async with asyncio.timeout(5):
        if error is None:
            assert (await waiting).result == b"answer"
        else:
            with pytest.raises(DeviceError, match="broken"):
                await waiting


async def test_who_has_joined_but_not_begun_to_wait_keeps_the_flight(
    flights: Flights, clock: FakeClock
) -> None:
    flight = a_flight(flights, clock)
    (leader,) = await seated(flights, flight, 1)
    assert flights.join(KEY, math.inf, NORMAL) is flight
    leader.cancel()
    await asyncio.wait([leader])
    assert not flight.entries[0].cancelled
    follower = asyncio.create_task(flights.wait(flight, math.inf))
    await asyncio.sleep(0)
    flight.result = b"answer"
    flights.land(flight)
    assert (await follower).result == b"answer"


async def test_nobody_joins_a_flight_whose_deadline_has_passed(flights: Flights, clock: FakeClock) -> None:
    """A lane may just now be dropping its rows."""
    a_flight(flights, clock, expires=clock() + 1)
    clock.advance(1)
    assert flights.join(KEY, math.inf, NORMAL) is None


async def test_a_later_deadline_counts_however_boarding_and_joining_meet(
    flights: Flights, clock: FakeClock
) -> None:
    flight = Flight(KEY, Echo(), "text", None, clock(), clock() + 1)
    flights.start(flight)
    entries = [Entry([1], arrived=clock(), expires=flight.expires)]
    flights.join(KEY, clock() + 9, NORMAL)  # after the rows were made, before they have boarded
    flight.board(entries, clock())
    assert flight.entries[0].expires == clock() + 9


async def test_an_urgent_request_hurries_the_flight_it_joins(flights: Flights, clock: FakeClock) -> None:
    flight = Flight(KEY, Echo(), "text", None, clock(), math.inf, LOW)
    flights.start(flight)
    early = [Entry([1], arrived=clock(), priority=LOW)]
    flights.join(KEY, math.inf, NORMAL)
    flight.board(early, clock())
    assert early[0].due == Entry([1], arrived=clock(), priority=NORMAL).due
    flights.join(KEY, math.inf, HIGH)
    flights.join(KEY, math.inf, LOW)
    assert early[0].due == Entry([1], arrived=clock(), priority=HIGH).due


async def test_an_old_flight_that_lands_leaves_the_new_one_in_the_air(
    flights: Flights, clock: FakeClock
) -> None:
    old = a_flight(flights, clock)
    (task,) = await seated(flights, old, 1)
    task.cancel()
    await asyncio.wait([task])
    new = a_flight(flights, clock)
    old.result = b"late"
    flights.land(old)
    assert flights.join(KEY, math.inf, NORMAL) is new
