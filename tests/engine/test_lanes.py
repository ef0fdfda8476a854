"""Lanes with real threads over a session that fails on demand: every row comes back once, poison fails alone."""

import json
import math
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.echo import Echo, echoed

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.cost import Cost, CostSample
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.flights import Flight
from inferstream.pipeline.engine.lanes import BatchStats
from inferstream.pipeline.errors import DeadlineExceeded, DeviceError, DeviceOutOfMemory
from inferstream.pipeline.runtime.fake_session import FakeSession

PATIENCE_S = 10.0
AMPLE = Limits(4_096, 64)
POISON = "\u2620"


class Runway:
    """A device whose landings can be waited for."""

    def __init__(
        self,
        session: FakeSession,
        *,
        lanes: int = 1,
        limits: Limits = AMPLE,
        cost: Cost | None = None,
        clock: FakeClock | None = None,
        **more: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        cheap_rows = Cost((10.0, 0.01, 0.0001, 1e-7))
        self.device = Device(
            session,
            lanes=lanes,
            limits=limits,
            cost=cost or cheap_rows,
            clock=self.clock,
            stopwatch=self.clock,
            **more,
        )
        self.task = Echo()
        self.landed: queue.Queue[Flight] = queue.Queue()
        self.failed: queue.Queue[BaseException] = queue.Queue()
        self.stats: list[BatchStats] = []
        self.device.on_batch = self.stats.append

    def put(self, *texts: str, expires: float = math.inf, task: Any = None) -> list[Flight]:
        flights = [self.flight(text, expires, task or self.task) for text in texts]
        self.device.batcher.put([entry for flight in flights for entry in flight.entries])
        return flights

    def flight(self, text: str, expires: float, task: Any) -> Flight:
        flight = Flight(text.encode(), task, text, task.options({}), self.clock(), expires)
        rows = task.prepare([text])[0]
        flight.board(
            [Entry(row, arrived=self.clock(), expires=expires, owner=flight) for row in rows], self.clock()
        )
        return flight

    def wait(self, count: int) -> dict[str, bytes | Exception]:
        """The results of the next landings, by text; each text lands once."""
        landed = [self.landed.get(timeout=PATIENCE_S) for _ in range(count)]
        results = {flight.text: flight.result for flight in landed}
        assert len(results) == count
        return results

    def land(self, flights: list[Flight]) -> None:
        for flight in flights:
            self.landed.put(flight)


@contextmanager
def a_runway(session: FakeSession, **more: Any) -> Iterator[Runway]:
    runway = Runway(session, **more)
    runway.device.start(runway.land, runway.failed.put)
    try:
        yield runway
    finally:
        session.release()
        runway.device.stop()
    assert runway.landed.empty()
    assert runway.failed.empty()


@contextmanager
def held(session: FakeSession, runway: Runway) -> Iterator[None]:
    """Keep one lane busy with a row of its own, so that what is put meanwhile waits."""
    session.stall()
    runway.put("held")
    session.wait_for_runs(1)
    yield
    session.release()


@pytest.mark.parametrize("lanes", [1, 4])
def test_every_row_comes_back_once(lanes: int) -> None:
    texts = [f"text {n} " + "x" * (n % 90) for n in range(300)]
    with a_runway(FakeSession(), lanes=lanes, limits=Limits(512, 16)) as runway:
        putters = [threading.Thread(target=runway.put, args=texts[n::3]) for n in range(3)]
        for putter in putters:
            putter.start()
        assert runway.wait(300) == {text: echoed(text) for text in texts}
        for putter in putters:
            putter.join()
    assert sum(stats.rows for stats in runway.stats) == sum(math.ceil(len(text) / 32) for text in texts)
    assert max(stats.padded_tokens for stats in runway.stats) <= 512


def test_closing_runs_what_waits() -> None:
    session = FakeSession()
    texts = [f"text {n}" for n in range(50)]
    with a_runway(session, limits=Limits(64, 8)) as runway:
        with held(session, runway):
            runway.put(*texts)
            runway.device.batcher.close()
        runway.device.stop()
        assert runway.wait(51) == {text: echoed(text) for text in [*texts, "held"]}


def test_one_poisoned_row_among_64_fails_alone() -> None:
    session = FakeSession(poison=[ord(POISON)])
    texts = [f"text {n:02}" for n in range(64)]
    texts[37] = f"tex{POISON} 37"
    with a_runway(session) as runway:
        with held(session, runway):
            runway.put(*texts)
        results = runway.wait(65)
    assert (64, 7) in session.shapes, "they ran as one batch"
    poisoned = results.pop(texts[37])
    assert isinstance(poisoned, DeviceError)
    assert results == {text: echoed(text) for text in ["held", *texts] if text != texts[37]}
    assert len(session.runs) <= 2 + 2 * math.log2(64), "halving finds it"


def test_an_error_of_the_session_that_is_not_ours_fails_the_row_alone() -> None:
    class Rude(FakeSession):
        def run(self, feeds: Any) -> Any:
            if (feeds["input_ids"] == ord("!")).any():
                raise ZeroDivisionError("no sentence")
            return super().run(feeds)

    with a_runway(Rude()) as runway:
        runway.put("good", "bad!")
        results = runway.wait(2)
    assert isinstance(results["bad!"], DeviceError)
    assert results["good"] == echoed("good")


def test_a_row_that_cannot_be_collated_fails_alone() -> None:
    class Picky(Echo):
        def collate(self, rows: Any) -> Any:
            if any(ord("!") in row for row in rows):
                raise MemoryError
            return super().collate(rows)

    session, task = FakeSession(), Picky()
    with a_runway(session) as runway:
        with held(session, runway):
            runway.put("good", "bad!", "fine", task=task)
        results = runway.wait(4)
    assert isinstance(results["bad!"], DeviceError | DeviceOutOfMemory)
    assert (results["good"], results["fine"]) == (echoed("good"), echoed("fine"))


def test_an_answer_that_cannot_be_made_fails_alone() -> None:
    session = FakeSession()
    with a_runway(session) as runway:
        with held(session, runway):
            runway.put("good", "bad\x07", "fine")
        results = runway.wait(4)
    assert isinstance(results["bad\x07"], DeviceError)
    assert (results["good"], results["fine"]) == (echoed("good"), echoed("fine"))


def test_a_text_of_several_rows_keeps_the_error_of_the_row_that_failed() -> None:
    """Its other rows are dropped as cancelled: that must not look like a deadline."""
    session = FakeSession(poison=[ord(POISON)])
    with a_runway(session, limits=Limits(32, 1)) as runway:
        runway.put(POISON * 32 + "a" * 64)
        landed = runway.landed.get(timeout=PATIENCE_S)
        runway.put("next")
        results = [landed.result]
        while landed.text != "next":
            landed = runway.landed.get(timeout=PATIENCE_S)
            results.append(landed.result)
    assert results.pop() == echoed("next")
    assert {type(result) for result in results} == {DeviceError}


def test_out_of_memory_halves_the_budget_and_it_recovers() -> None:
    session = FakeSession(max_padded_tokens=100)
    texts = [f"text {n:03}" for n in range(64)]
    with a_runway(session, limits=Limits(512, 64)) as runway:
        with held(session, runway):
            runway.put(*texts)
        assert runway.wait(65) == {text: echoed(text) for text in ["held", *texts]}
        assert runway.device.batcher.limits.token_budget < 512
        session.max_padded_tokens = math.inf
        for n in range(120):
            runway.put(f"more {n}")
            runway.wait(1)
        assert runway.device.batcher.limits == Limits(512, 64)


def test_a_row_that_never_fits_fails_alone() -> None:
    session = FakeSession(max_padded_tokens=20)
    with a_runway(session) as runway:
        with held(session, runway):
            runway.put("short", "l" * 30, "brief")
        results = runway.wait(4)
    assert isinstance(results["l" * 30], DeviceOutOfMemory)
    assert (results["short"], results["brief"]) == (echoed("short"), echoed("brief"))


def test_a_smaller_budget_is_never_raised_by_a_larger_batch_that_fails() -> None:
    batcher = Runway(FakeSession()).device.batcher
    batcher.shrink(1_000)
    batcher.shrink(4_000)
    assert batcher.limits.token_budget == 500


def test_expired_rows_never_reach_the_device() -> None:
    session = FakeSession()
    with a_runway(session) as runway:
        with held(session, runway):
            runway.put("late", expires=runway.clock() + 5)
            runway.put("in time", expires=runway.clock() + 50)
            runway.clock.advance(5)
        results = runway.wait(3)
    assert isinstance(results.pop("late"), DeadlineExceeded)
    assert results == {text: echoed(text) for text in ("held", "in time")}
    assert session.shapes == [(1, 4), (1, 7)]


def test_rows_that_expire_while_a_failed_batch_is_halved_do_not_run_again() -> None:
    clock = FakeClock()
    session = FakeSession(
        clock=clock, cost_ms=lambda rows, _: 1_000.0 if rows > 1 else 0.0, poison=[ord(POISON)]
    )
    with a_runway(session, clock=clock) as runway:
        with held(session, runway):
            runway.put(f"bad{POISON}", "good", "fine")
            runway.put("late", expires=clock() + 1.5)
        results = runway.wait(5)
    assert session.shapes == [(1, 4), (4, 4), (2, 4), (1, 4), (1, 4), (1, 4)]
    assert isinstance(results.pop("late"), DeadlineExceeded)
    assert isinstance(results.pop(f"bad{POISON}"), DeviceError)
    assert results == {text: echoed(text) for text in ("held", "good", "fine")}


def test_a_suspect_that_expires_while_it_waits_for_another_does_not_run(tmp_path: Path) -> None:
    taken: queue.Queue[list[Entry] | None] = queue.Queue()

    class Watched(Batcher):
        def take(self) -> list[Entry] | None:
            batch = super().take()
            taken.put(batch)
            return batch

    session = FakeSession()
    session.stall()
    with a_runway(session, lanes=2, note=CrashNote(tmp_path, 2), batcher=Watched) as runway:
        for text, expires in (("first", math.inf), ("late", runway.clock() + 5)):
            flight = runway.flight(text, expires, runway.task)
            flight.entries[0].alone = True
            runway.device.batcher.put(flight.entries)
            taken.get(timeout=PATIENCE_S)
            session.wait_for_runs(1)
        runway.clock.advance(5)
        session.release()
        results = runway.wait(2)
    assert results["first"] == echoed("first")
    assert isinstance(results["late"], DeadlineExceeded)
    assert session.shapes == [(1, 5)]


def test_what_ran_teaches_the_cost() -> None:
    clock = FakeClock()
    session = FakeSession(clock=clock, cost_ms=lambda rows, length: 3.0 * rows)
    observed: list[CostSample] = []

    class Watched(Cost):
        def observe(self, sample: CostSample) -> None:
            observed.append(sample)

    runway = Runway(session, cost=Watched())
    runway.device = Device(
        session, lanes=1, limits=Limits(512, 64), cost=Watched(), clock=clock, stopwatch=clock
    )
    runway.device.start(runway.land, runway.failed.put)
    with held(session, runway):
        runway.put("abc", "abd", "abe")
    runway.wait(4)
    runway.device.stop()
    assert sum(sample.rows for sample in observed) == 4
    assert [sample.ms / sample.rows for sample in observed] == pytest.approx([3.0] * len(observed))


def test_a_device_is_learned_once_and_kept(tmp_path: Path) -> None:
    def a_device(session: FakeSession) -> Device:
        return Device(
            session,
            lanes=1,
            limits=Limits(512, 64),
            cost=Cost.load(path),
            cost_path=path,
            clock=clock,
            stopwatch=clock,
        )

    clock, path = FakeClock(), tmp_path / "cost.json"
    first, second = (FakeSession(clock=clock, cost_ms=lambda rows, length: 1.0 + rows) for _ in range(2))
    device = a_device(first)
    device.learn(Echo(), 32)
    assert device.cost.ms(8, 16) == pytest.approx(9.0, rel=0.02)
    device.start(print, print)
    device.stop()
    again = a_device(second)
    again.learn(Echo(), 32)
    assert second.runs == []
    assert again.cost.ms(8, 16) == device.cost.ms(8, 16)


def test_a_cost_that_cannot_be_stored_is_only_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    device = Device(
        FakeSession(),
        lanes=1,
        limits=Limits(512, 64),
        cost=Cost(knots=[1.0] * 40),
        cost_path=tmp_path / "file" / "cost.json",
        clock=FakeClock(),
        stopwatch=FakeClock(),
    )
    device.start(print, print)
    device.stop()


def dies(_: object) -> None:
    raise LookupError("a defect beside the device")


def wrong_count(_: object) -> list[bytes]:
    return []


@pytest.mark.parametrize("defect", [dies, wrong_count])
def test_a_lane_that_dies_says_so(defect: Callable[[Any], Any]) -> None:
    runway = Runway(FakeSession())
    if defect is dies:
        runway.device.on_batch = dies
    else:
        runway.task.finish = wrong_count  # type: ignore[method-assign]
    runway.device.start(runway.land, runway.failed.put)
    runway.put("text")
    assert isinstance(runway.failed.get(timeout=PATIENCE_S), LookupError | ValueError)
    runway.device.stop()


def test_the_batch_of_an_answer_is_told() -> None:
    session = FakeSession()
    with a_runway(session) as runway:
        with held(session, runway):
            flights = runway.put("abcd", "ab", "abc")
        runway.wait(4)
    assert {flight.shape for flight in flights} == {(3, 9, 12)}
    assert json.loads(flights[1].result)["echo"] == "ab"  # type: ignore[arg-type]
