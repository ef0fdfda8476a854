"""Waiters of one content, in any order of joining, dropping and landing: none ends for another's deadline."""

import asyncio
import math
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.engine_rig import EngineRig, an_engine_rig
from support.entries import a_flight

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import BatchStats, Entry, split_runnable
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.flight_ends import Dropped
from inferstream.pipeline.engine.flights import Flights, fail_flights, fail_late
from inferstream.pipeline.errors import DeadlineExceeded, DeviceError
from inferstream.pipeline.runtime.model import Row

KEY = b"key"
FAR_S = 1e6
"""Seconds that no loop waits in a test: the machine's own clock is the fake one."""


@dataclass(eq=False)
class Waiter:
    expires: float
    task: "asyncio.Task[bytes]"


class OneContent(RuleBasedStateMachine):
    """The event loop joins and waits while lanes decide, drop and land, each step in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.flights = Flights(self.clock)
        self.living: list[Flight] = []
        self.decided: list[list[Entry]] = []
        self.failed: list[Flight] = []
        self.waiters: list[Waiter] = []

    def teardown(self) -> None:
        for waiter in self.waiters:
            waiter.task.cancel()
        for waiter in self.waiters:
            self.loop.run_until_complete(asyncio.wait([waiter.task]))
        self.loop.close()

    def turn(self) -> None:
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(left_s=st.sampled_from([1.0, 2.0, 5.0, math.inf]), turn=st.booleans())
    def ask(self, left_s: float, turn: bool) -> None:
        """A request comes: it joins the flight of its content, or starts one."""
        expires = self.clock() + left_s * FAR_S
        flight = self.flights.join(KEY, expires, 1)
        if flight is None:
            flight = a_flight(KEY, started_at=self.clock(), expires=expires)
            self.flights.start(flight)
            flight.board([Entry(Row([1]), flight, arrived=self.clock()) for _ in range(2)], self.clock())
            self.living.append(flight)
        self.waiters.append(Waiter(expires, self.loop.create_task(self.flights.wait(flight, expires))))
        if turn:
            self.turn()

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds * FAR_S)

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def decide(self, data: st.DataObject) -> None:
        """A lane decides which rows are too late; it drops them later."""
        flight = data.draw(st.sampled_from(self.living))
        _, late = split_runnable(flight.entries, self.clock())
        if late:
            self.decided.append(late)

    @precondition(lambda self: self.decided)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        late = data.draw(st.sampled_from(self.decided))
        self.decided.remove(late)
        self.failed += fail_late(late)

    @precondition(lambda self: self.living)
    @rule(data=st.data(), error=st.booleans())
    def run(self, data: st.DataObject, error: bool) -> None:
        """All rows of a flight run, or one fails on the device."""
        flight = data.draw(st.sampled_from(self.living))
        if error:
            self.failed += fail_flights(flight.entries[:1], DeviceError("broken"))
            return
        complete = [flight.add_output(entry, None, 0.0, BatchStats(1, 1, 1, 1.0)) for entry in flight.entries]
        if flight.result is None and any(complete):
            flight.result = b"answer"
            self.failed.append(flight)

    @precondition(lambda self: self.failed)
    @rule(data=st.data())
    def land(self, data: st.DataObject) -> None:
        flight = data.draw(st.sampled_from(self.failed))
        self.failed.remove(flight)
        if flight in self.living:
            self.living.remove(flight)
        self.flights.land(flight)
        self.turn()

    @invariant()
    def nobody_ends_for_the_deadline_of_another(self) -> None:
        for waiter in self.waiters:
            if not waiter.task.done() or waiter.task.cancelled():
                continue
            error = waiter.task.exception()
            if isinstance(error, DeadlineExceeded):
                assert waiter.expires <= self.clock()
            if isinstance(error, Dropped):
                assert waiter.expires > self.clock()


OneContent.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestOneContent = OneContent.TestCase


async def dropping_when_joined(rig: EngineRig, joiner_expires: float) -> "asyncio.Task[object]":
    """A request joins after a lane has decided to drop the rows, and before it drops them."""
    batcher = rig.device.batcher
    drop = batcher._drop
    joined: list[asyncio.Task[object]] = []
    loop = asyncio.get_running_loop()

    def join_first(entries: list[Entry]) -> None:
        async def join() -> None:
            # The first request joined when the deadline had not passed: a clock that lags gives the same.
            rig.clock.advance(-600.0)
            joined.extend(rig.asked("late", expires=joiner_expires))
            await asyncio.sleep(0)
            rig.clock.advance(600.0)

        asyncio.run_coroutine_threadsafe(join(), loop).result(10)
        batcher._drop = drop
        drop(entries)

    batcher._drop = join_first
    rig.session.stall()
    held = rig.asked("held")
    await rig.begun(1)
    first = rig.asked("late", expires=rig.clock() + 500)
    while len(batcher) < 1:  # noqa: ASYNC110 - a thread of the engine fills it
        await asyncio.sleep(0.001)
    rig.clock.advance(600)
    rig.session.release()
    (error,) = await asyncio.gather(*first, return_exceptions=True)
    assert isinstance(error, DeadlineExceeded)
    await asyncio.gather(*held)
    return joined[0]


async def test_a_request_without_a_deadline_that_joins_dropped_rows_is_answered() -> None:
    async with an_engine_rig(lanes=1) as rig:
        joiner = await dropping_when_joined(rig, math.inf)
        assert (await joiner).output == b'{"echo": "late"}'  # type: ignore[attr-defined]


async def test_a_request_whose_own_deadline_has_passed_too_ends_with_it() -> None:
    async with an_engine_rig(lanes=1) as rig:
        joiner = await dropping_when_joined(rig, rig.clock() + 550)
        with pytest.raises(DeadlineExceeded):
            await joiner
