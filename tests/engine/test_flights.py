"""Waiters of a flight are independent: one that leaves changes nothing for the others."""

import asyncio
import math

import numpy as np
import pytest
from support.echo import Echo
from support.entries import a_flight, an_entry

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import BatchStats, Entry, Limits
from inferstream.pipeline.engine.carried import Carried
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.flight_ends import TooLate
from inferstream.pipeline.engine.flights import Flights, by_task, fail_flights, fail_late
from inferstream.pipeline.engine.phase_queue import PhaseQueue
from inferstream.pipeline.errors import DeadlineExceeded, DeviceError, DeviceOutOfMemory
from inferstream.pipeline.runtime.model import RUN, Row

KEY = b"key"
HIGH, NORMAL, LOW = range(3)
OUTPUT = np.zeros(1, np.float32)
STATS = BatchStats(1, 1, 1, 1.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def flights(clock: FakeClock) -> Flights:
    return Flights(clock)


def boarded(flights: Flights, clock: FakeClock, *, rows: int = 1, expires: float = math.inf) -> Flight:
    """A flight that has started and whose rows are prepared."""
    flight = a_flight(KEY, started_at=clock(), expires=expires)
    flight.board([Entry(Row([1]), flight, arrived=clock()) for _ in range(rows)], clock())
    flights.start(flight)
    return flight


async def waiting_tasks(flights: Flights, flight: Flight, count: int) -> list["asyncio.Task[bytes]"]:
    """Tasks that wait for the flight, all of them begun."""
    tasks = [asyncio.create_task(flights.wait(flight, math.inf)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def cancelled(task: "asyncio.Task[bytes]") -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_one_waiter_that_leaves_changes_nothing_for_the_others(
    flights: Flights, clock: FakeClock, leaver: int
) -> None:
    flight = boarded(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    flights.join(KEY, math.inf, NORMAL)
    tasks = await waiting_tasks(flights, flight, 3)
    await cancelled(tasks[leaver])
    assert not flight.entries[0].cancelled
    flight.result = b"answer"
    flights.land(flight)
    del tasks[leaver]
    assert [await task for task in tasks] == [b"answer"] * 2
    assert len(flights) == 0


async def test_the_rows_are_cancelled_when_all_waiters_have_left(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    for task in await waiting_tasks(flights, flight, 2):
        assert not flight.entries[0].cancelled
        await cancelled(task)
    assert flight.entries[0].cancelled
    assert flights.join(KEY, math.inf, NORMAL) is None, "the next request starts a new flight"


async def test_the_rows_are_cancelled_before_the_tasks_of_cancelled_waiters_have_their_turn(
    flights: Flights, clock: FakeClock
) -> None:
    flight = boarded(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    tasks = await waiting_tasks(flights, flight, 2)
    for task in tasks:
        flight.drop_if_unwanted()
        assert not flight.entries[0].cancelled
        task.cancel()
    flight.drop_if_unwanted()
    assert flight.entries[0].cancelled
    assert flights.join(KEY, math.inf, NORMAL) is None, "the next request starts a new flight"
    newer = boarded(flights, clock)
    await asyncio.wait(tasks)
    assert flights.join(KEY, math.inf, NORMAL) is newer


async def test_rows_that_board_after_all_waiters_have_left_are_cancelled(
    flights: Flights, clock: FakeClock
) -> None:
    flight = a_flight(KEY)
    flights.start(flight)
    (task,) = await waiting_tasks(flights, flight, 1)
    await cancelled(task)
    flight.board([Entry(Row([1]), flight, arrived=clock())], clock())
    assert flight.entries[0].cancelled


async def test_an_error_is_shared_and_not_kept(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock)
    flights.join(KEY, math.inf, NORMAL)
    tasks = await waiting_tasks(flights, flight, 2)
    flight.fail(DeviceError("broken"))
    flights.land(flight)
    for task in tasks:
        with pytest.raises(DeviceError, match="broken"):
            await task
    assert flights.join(KEY, math.inf, NORMAL) is None


async def test_each_waiter_has_its_own_deadline(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock, expires=clock() + 0.01)
    flights.join(KEY, math.inf, NORMAL)
    unlimited = asyncio.create_task(flights.wait(flight, math.inf))
    with pytest.raises(DeadlineExceeded):
        await flights.wait(flight, clock() + 0.01)
    assert flight.entries[0].expires == math.inf
    assert not flight.entries[0].cancelled
    flight.result = b"answer"
    flights.land(flight)
    assert await unlimited == b"answer"


@pytest.mark.parametrize("error", [None, DeviceError("broken")])
async def test_a_wait_that_begins_after_the_landing_has_the_result(
    flights: Flights, clock: FakeClock, error: DeviceError | None
) -> None:
    """A request joins, and the flight lands before the request's task first runs."""
    flight = boarded(flights, clock)
    joined = flights.join(KEY, math.inf, NORMAL)
    assert joined is flight
    waiting = asyncio.create_task(flights.wait(flight, math.inf))
    flight.result = error or b"answer"
    flights.land(flight)
    async with asyncio.timeout(5):
        if error is None:
            assert await waiting == b"answer"
        else:
            with pytest.raises(DeviceError, match="broken"):
                await waiting


async def test_a_request_that_has_joined_and_does_not_wait_yet_keeps_the_flight(
    flights: Flights, clock: FakeClock
) -> None:
    flight = boarded(flights, clock)
    (leader,) = await waiting_tasks(flights, flight, 1)
    assert flights.join(KEY, math.inf, NORMAL) is flight
    await cancelled(leader)
    assert not flight.entries[0].cancelled
    follower = asyncio.create_task(flights.wait(flight, math.inf))
    await asyncio.sleep(0)
    flight.result = b"answer"
    flights.land(flight)
    assert await follower == b"answer"


async def test_a_flight_whose_deadline_has_passed_cannot_be_joined(
    flights: Flights, clock: FakeClock
) -> None:
    """A lane may be dropping its rows at this moment."""
    boarded(flights, clock, expires=clock() + 1)
    clock.advance(1)
    assert flights.join(KEY, math.inf, NORMAL) is None


def test_a_flight_that_has_failed_and_not_landed_cannot_be_joined(flights: Flights, clock: FakeClock) -> None:
    """Rows that would be too late fail before their deadline; a request with more time must run."""
    flight = boarded(flights, clock, expires=clock() + 1)
    fail_flights(flight.entries, DeadlineExceeded("too late"))
    assert flights.join(KEY, math.inf, NORMAL) is None
    new = boarded(flights, clock)
    flights.land(flight)
    assert flights.join(KEY, math.inf, NORMAL) is new


async def test_the_latest_deadline_counts_in_any_order_of_boarding_and_joining(
    flights: Flights, clock: FakeClock
) -> None:
    flight = a_flight(KEY, expires=clock() + 1)
    flights.start(flight)
    entries = [Entry(Row([1]), flight, arrived=clock())]
    flights.join(KEY, clock() + 9, NORMAL)  # after the rows were made, before they board
    flight.board(entries, clock())
    assert flight.entries[0].expires == clock() + 9


async def test_an_urgent_request_moves_the_rows_of_the_flight_that_it_joins(
    flights: Flights, clock: FakeClock
) -> None:
    flight = a_flight(KEY, priority=LOW)
    flights.start(flight)
    rows = [Entry(Row([1]), flight, arrived=clock())]
    flights.join(KEY, math.inf, NORMAL)
    flight.board(rows, clock())
    assert rows[0].due == an_entry(arrived=clock(), priority=NORMAL).due
    flights.join(KEY, math.inf, HIGH)
    flights.join(KEY, math.inf, LOW)
    assert rows[0].due == an_entry(arrived=clock(), priority=HIGH).due


async def test_a_request_that_is_no_more_urgent_leaves_the_rows_of_its_flight_in_their_place(
    flights: Flights, clock: FakeClock
) -> None:
    batcher = Batcher({RUN: PhaseQueue(Cost(), Limits(1_000, 1))}, clock, [].extend)
    rows = []
    for key in (KEY, b"another"):
        flight = a_flight(key, batcher=batcher, started_at=clock())
        flight.board([Entry(Row([1]), flight, arrived=clock())], clock())
        flights.start(flight)
        batcher.put(flight.entries)
        rows += flight.entries
    for priority in (NORMAL, LOW):
        flights.join(KEY, math.inf, priority)
    assert batcher.take(Carried()) == rows[:1]


async def test_landing_an_abandoned_flight_leaves_the_new_one_for_its_content(
    flights: Flights, clock: FakeClock
) -> None:
    old = boarded(flights, clock)
    (task,) = await waiting_tasks(flights, old, 1)
    await cancelled(task)
    new = boarded(flights, clock)
    old.result = b"late"
    flights.land(old)
    assert flights.join(KEY, math.inf, NORMAL) is new


def test_a_flight_is_complete_with_the_output_of_its_last_row(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock, rows=3)
    complete = [flight.add_output(entry, OUTPUT, clock(), STATS) for entry in flight.entries]
    assert complete == [False, False, True]


def test_a_flight_keeps_its_first_error_and_drops_its_other_rows(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock, rows=2)
    error = DeviceOutOfMemory("first")
    assert fail_flights(flight.entries[:1], error) == [flight]
    assert fail_flights(flight.entries[1:], DeviceError("second")) == []
    assert flight.result is error
    assert flight.entries[1].cancelled
    flight.extend(math.inf, HIGH)
    assert flight.entries[1].cancelled, "a request that joins does not bring the rows back"


def test_a_row_that_ends_after_its_flight_has_failed_and_landed_completes_nothing(
    flights: Flights, clock: FakeClock
) -> None:
    """One lane fails a row and the flight lands, while another lane still runs the other row."""
    flight = boarded(flights, clock, rows=2)
    failing, running = flight.entries
    fail_flights([failing], DeviceError("broken"))
    flights.land(flight)
    assert not flight.add_output(running, OUTPUT, clock(), STATS)
    assert isinstance(flight.result, DeviceError)


def test_a_flight_keeps_what_its_timings_are_made_of(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock, rows=2)
    assert (flight.started_at, flight.prepared_at) == (clock(), clock())
    clock.advance(3)
    flight.board(flight.entries, clock())
    assert flight.prepared_at == clock()
    last = BatchStats(2, 7, 8, 1.5)
    for entry, stats in zip(flight.entries, (STATS, last), strict=True):
        entry.steps = 1
        entry.ran_at = clock()
        flight.add_output(entry, OUTPUT, clock() + 0.5, stats)
        clock.advance(1)
    assert all(entry.output is OUTPUT for entry in flight.entries)
    assert (flight.ran_at, flight.run_ms, flight.batch) == (clock() - 1, last.ms, last)


def test_flights_are_grouped_by_their_task(flights: Flights) -> None:
    found = [a_flight(bytes([n])) for n in range(4)]
    for flight in found[1::2]:
        flight.task = Echo("another")
    found[3].task = found[1].task
    assert list(by_task(found)) == [[found[0], found[2]], [found[1], found[3]]]
    assert list(by_task([])) == []


def test_a_flight_that_was_too_late_is_judged_by_its_latest_row(flights: Flights, clock: FakeClock) -> None:
    late, ended, other = boarded(flights, clock, rows=3), boarded(flights, clock), boarded(flights, clock)
    ended.result = b"answer"
    for entry, judged in zip(late.entries, (5.0, 9.0, 7.0), strict=True):
        entry.judged = judged
    assert fail_late([*late.entries, *ended.entries]) == [late]
    assert isinstance(late.result, TooLate)
    assert late.result.judged == 9.0
    assert (ended.result, other.result) == (b"answer", None)
    assert all(entry.cancelled for entry in late.entries)


async def test_a_landing_frees_the_rows_and_ends_each_waiter_once(flights: Flights, clock: FakeClock) -> None:
    flight = boarded(flights, clock, rows=2)
    flights.join(KEY, math.inf, NORMAL)
    one, two = await waiting_tasks(flights, flight, 2)
    flight.result = b"answer"
    two.cancel()
    flights.land(flight)
    assert (flight.entries, len(flights)) == ([], 0)
    assert await one == b"answer"
    flights.land(flight)
    assert len(flights) == 0
