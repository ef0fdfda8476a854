"""Lanes with real threads over a fake session: one result a row, and failing rows fail alone."""

import json
import logging
import math
import queue
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.device_rig import AMPLE, TIMEOUT_S, DeviceRig, a_device_rig
from support.echo import echoed

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import Entry, Limits
from inferstream.pipeline.engine.carried import Carried
from inferstream.pipeline.engine.cost import Cost, CostSample
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.errors import DeadlineExceeded, DeviceError, DeviceOutOfMemory
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN

POISON = "\u2620"


@pytest.mark.parametrize("lanes", [1, 4])
def test_every_row_gets_one_result(lanes: int) -> None:
    texts = [f"text {n} " + "x" * (n % 90) for n in range(300)]
    with a_device_rig(FakeSession(), lanes=lanes, limits=Limits(512, 16)) as rig:
        putters = [threading.Thread(target=rig.put, args=texts[n::3]) for n in range(3)]
        for putter in putters:
            putter.start()
        assert rig.wait(300) == {text: echoed(text) for text in texts}
        for putter in putters:
            putter.join()
    assert sum(stats.rows for stats in rig.stats) == sum(math.ceil(len(text) / 32) for text in texts)
    assert max(stats.padded_tokens for stats in rig.stats) <= 512


def test_closing_runs_what_waits() -> None:
    session = FakeSession()
    texts = [f"text {n}" for n in range(50)]
    with a_device_rig(session, limits=Limits(64, 8)) as rig:
        with rig.busy_lane():
            rig.put(*texts)
            rig.device.batcher.close()
        rig.device.stop()
        assert rig.wait(51) == {text: echoed(text) for text in [*texts, "held"]}


def test_one_poisoned_row_among_64_fails_alone() -> None:
    session = FakeSession(poison=[ord(POISON)])
    texts = [f"text {n:02}" for n in range(64)]
    texts[37] = f"tex{POISON} 37"
    with a_device_rig(session) as rig:
        with rig.busy_lane():
            rig.put(*texts)
        results = rig.wait(65)
    assert (64, 7) in session.shapes, "they ran as one batch"
    poisoned = results.pop(texts[37])
    assert isinstance(poisoned, DeviceError)
    assert results == {text: echoed(text) for text in ["held", *texts] if text != texts[37]}
    assert len(session.runs) <= 2 + 2 * math.log2(64), "found by halving"


def test_any_exception_of_the_session_fails_the_row_alone() -> None:
    with a_device_rig(FakeSession(fail_on={ord("!"): ZeroDivisionError})) as rig:
        rig.put("good", "bad!")
        results = rig.wait(2)
    assert isinstance(results["bad!"], DeviceError)
    assert results["good"] == echoed("good")


def test_a_row_for_which_there_is_no_memory_fails_alone() -> None:
    with a_device_rig(FakeSession(fail_on={ord("!"): MemoryError})) as rig:
        with rig.busy_lane():
            rig.put("good", "bad!", "fine")
        results = rig.wait(4)
    assert isinstance(results["bad!"], DeviceError | DeviceOutOfMemory)
    assert (results["good"], results["fine"]) == (echoed("good"), echoed("fine"))


def test_an_output_that_cannot_become_an_answer_fails_alone() -> None:
    session = FakeSession()
    with a_device_rig(session) as rig:
        with rig.busy_lane():
            rig.put("good", "bad\x07", "fine")
        results = rig.wait(4)
    assert isinstance(results["bad\x07"], DeviceError)
    assert (results["good"], results["fine"]) == (echoed("good"), echoed("fine"))


def test_a_text_of_several_rows_keeps_the_error_of_the_row_that_failed() -> None:
    """Its other rows are dropped as cancelled: the result must not become DeadlineExceeded."""
    session = FakeSession(poison=[ord(POISON)])
    with a_device_rig(session, limits=Limits(32, 1)) as rig:
        rig.put(POISON * 32 + "a" * 64)
        landed = rig.landed.get(timeout=TIMEOUT_S)
        rig.put("next")
        results = [landed.result]
        while landed.ask.content != "next":
            landed = rig.landed.get(timeout=TIMEOUT_S)
            results.append(landed.result)
    assert results.pop() == echoed("next")
    assert {type(result) for result in results} == {DeviceError}


def test_out_of_memory_halves_the_budget_and_it_recovers() -> None:
    session = FakeSession(max_padded_tokens=100)
    texts = [f"text {n:03}" for n in range(64)]
    with a_device_rig(session, limits=Limits(512, 64)) as rig:
        with rig.busy_lane():
            rig.put(*texts)
        assert rig.wait(65) == {text: echoed(text) for text in ["held", *texts]}
        assert rig.device.batcher.phases[RUN].limits.token_budget < 512
        session.max_padded_tokens = math.inf
        for n in range(120):
            rig.put(f"more {n}")
            rig.wait(1)
        assert rig.device.batcher.phases[RUN].limits == Limits(512, 64)


def test_a_row_that_never_fits_fails_alone() -> None:
    session = FakeSession(max_padded_tokens=20)
    with a_device_rig(session) as rig:
        with rig.busy_lane():
            rig.put("short", "l" * 30, "brief")
        results = rig.wait(4)
    assert isinstance(results["l" * 30], DeviceOutOfMemory)
    assert (results["short"], results["brief"]) == (echoed("short"), echoed("brief"))


def test_a_larger_batch_that_fails_never_raises_the_budget() -> None:
    batcher = DeviceRig(FakeSession()).device.batcher
    batcher.phases[RUN].shrink(1_000)
    batcher.phases[RUN].shrink(4_000)
    assert batcher.phases[RUN].limits.token_budget == 500


def test_expired_rows_never_reach_the_device() -> None:
    session = FakeSession()
    with a_device_rig(session) as rig:
        with rig.busy_lane():
            rig.put("late", expires=rig.clock() + 5)
            rig.put("in time", expires=rig.clock() + 50)
            rig.clock.advance(5)
        results = rig.wait(3)
    assert isinstance(results.pop("late"), DeadlineExceeded)
    assert results == {text: echoed(text) for text in ("held", "in time")}
    assert session.shapes == [(1, 4), (1, 7)]


def test_rows_that_expire_while_a_failed_batch_is_halved_do_not_run_again() -> None:
    clock = FakeClock()
    session = FakeSession(
        clock=clock, cost_ms=lambda rows, _: 1_000.0 if rows > 1 else 0.0, poison=[ord(POISON)]
    )
    with a_device_rig(session, clock=clock) as rig:
        with rig.busy_lane():
            rig.put(f"bad{POISON}", "good", "fine")
            rig.put("late", expires=clock() + 1.5)
        results = rig.wait(5)
    assert session.shapes == [(1, 4), (4, 4), (2, 4), (1, 4), (1, 4), (1, 4)]
    assert isinstance(results.pop("late"), DeadlineExceeded)
    assert isinstance(results.pop(f"bad{POISON}"), DeviceError)
    assert results == {text: echoed(text) for text in ("held", "good", "fine")}


def test_of_many_suspects_only_the_one_that_runs_is_recorded(tmp_path: Path) -> None:
    """Two that are recorded alone would both be blamed for a crash: an innocent one would become poison."""
    note = CrashNote(tmp_path, 2)
    running, finished = note.running, note.finished
    recorded: set[int] = set()
    most = 0

    def watched(lane: int, keys: Iterable[bytes]) -> None:
        nonlocal most
        recorded.add(lane)
        most = max(most, len(recorded))
        running(lane, keys)

    def watched_end(lane: int) -> None:
        recorded.discard(lane)
        finished(lane)

    note.running = watched  # type: ignore[method-assign]
    note.finished = watched_end  # type: ignore[method-assign]
    session = FakeSession()
    rig = DeviceRig(session, lanes=2, note=note)

    def land(flights: list[Flight]) -> None:
        session.wait_for_runs(min(20, len(session.runs) + 1))  # the other lane runs the next one meanwhile
        rig.land(flights)

    rig.device.start(land, rig.failed.put)
    for number in range(20):
        flight = rig.flight(f"suspect {number}")
        flight.entries[0].alone = True
        rig.device.batcher.put(flight.entries)
    rig.wait(20)
    rig.stop()
    assert most == 1


def test_a_suspect_that_expires_while_it_waits_for_another_does_not_run(tmp_path: Path) -> None:
    taken: queue.Queue[list[Entry] | None] = queue.Queue()

    class Watched(Batcher):
        def take(self, carried: Carried) -> list[Entry] | None:
            batch = super().take(carried)
            taken.put(batch)
            return batch

    session = FakeSession()
    session.stall()
    with a_device_rig(session, lanes=2, note=CrashNote(tmp_path, 2), batcher=Watched) as rig:
        for text, expires in (("first", math.inf), ("late", rig.clock() + 5)):
            flight = rig.flight(text, expires=expires)
            flight.entries[0].alone = True
            rig.device.batcher.put(flight.entries)
            taken.get(timeout=TIMEOUT_S)
            session.wait_for_runs(1)
        rig.clock.advance(5)
        session.release()
        results = rig.wait(2)
    assert results["first"] == echoed("first")
    assert isinstance(results["late"], DeadlineExceeded)
    assert session.shapes == [(1, 5)]


def test_each_run_updates_the_cost() -> None:
    clock = FakeClock()
    session = FakeSession(clock=clock, cost_ms=lambda rows, length: 3.0 * rows)
    observed: list[CostSample] = []

    class Watched(Cost):
        def observe(self, sample: CostSample) -> None:
            observed.append(sample)

    rig = DeviceRig(session, cost=Watched(), clock=clock)
    rig.start()
    with rig.busy_lane():
        rig.put("abc", "abd", "abe")
    rig.wait(4)
    rig.stop()
    assert sum(sample.rows for sample in observed) == 4
    assert [sample.ms / sample.rows for sample in observed] == pytest.approx([3.0] * len(observed))


def a_device(session: FakeSession, clock: FakeClock, path: Path) -> Device:
    return Device(Encoder(session), AMPLE, {RUN: Cost.load(path)}, LaneSettings(1, clock, clock))


def test_a_device_is_measured_once_and_its_cost_is_stored(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "cost.json"
    first, second = (FakeSession(clock=clock, cost_ms=lambda rows, length: 1.0 + rows) for _ in range(2))
    device = a_device(first, clock, path)
    device.learn(32)
    assert device.costs[RUN].ms(8, 16) == pytest.approx(9.0, rel=0.02)
    device.start(print, print)
    device.stop()
    again = a_device(second, clock, path)
    again.learn(32)
    assert second.runs == []
    assert again.costs[RUN].ms(8, 16) == device.costs[RUN].ms(8, 16)


def test_a_cost_that_cannot_be_stored_logs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    caplog.set_level(logging.WARNING)
    clock = FakeClock()
    session = FakeSession(clock=clock, cost_ms=lambda rows, length: 1.0 + rows)
    device = a_device(session, clock, tmp_path / "file" / "cost.json")
    device.learn(32)
    device.start(print, print)
    device.stop()
    assert "cost of batches cannot be stored" in caplog.text
    assert (tmp_path / "file").read_text() == "in the way"
    assert device.costs[RUN].learned


def dies(_: object) -> None:
    raise LookupError("a defect beside the device")


def test_an_error_in_a_lane_is_reported() -> None:
    rig = DeviceRig(FakeSession())
    rig.device.on_batch = dies
    rig.start()
    rig.put("text")
    assert isinstance(rig.failed.get(timeout=TIMEOUT_S), LookupError)
    rig.stop()


def test_a_flight_has_the_figures_of_its_batch() -> None:
    session = FakeSession()
    with a_device_rig(session) as rig:
        with rig.busy_lane():
            flights = rig.put("abcd", "ab", "abc")
        rig.wait(4)
    assert all(flight.batch for flight in flights)
    assert {flight.batch[:3] for flight in flights if flight.batch} == {(3, 9, 12)}
    assert json.loads(flights[1].result)["echo"] == "ab"  # type: ignore[arg-type]
