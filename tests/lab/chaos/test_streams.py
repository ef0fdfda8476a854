"""The parts of the scenario `steps`: its callers, the log of its streams, its model that fails on demand."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.broker_contract import wait_until
from support.steps_worker import SlowSession, know_steps, served_steps, steps_worker

from inferstream.pipeline.broker.base import Broker, Record
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import Config, KafkaConfig
from inferstream.pipeline.errors import DeviceError, DeviceOutOfMemory, DeviceUnavailable
from inferstream.pipeline.lab.chaos.auditing import Judgment, judgment_of
from inferstream.pipeline.lab.chaos.client_faults import ClientFaults
from inferstream.pipeline.lab.chaos.faulty_session import FaultState
from inferstream.pipeline.lab.chaos.faulty_steps import SMALL_ROWS, FaultySteps
from inferstream.pipeline.lab.chaos.figures import figures
from inferstream.pipeline.lab.chaos.left_streams import LeftStream
from inferstream.pipeline.lab.chaos.report import ChaosReport
from inferstream.pipeline.lab.chaos.scenario import load_scenario
from inferstream.pipeline.lab.chaos.stream_load import StreamLoad
from inferstream.pipeline.lab.chaos.stream_log import StreamCounts, StreamLog, text_of
from inferstream.pipeline.lab.load.requests import ABORTS, AWAY, DUE, FAILS
from inferstream.pipeline.lab.steps import START, StepsOutput
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.pipeline.runtime.graph import Graph
from inferstream.pipeline.runtime.model import Last, Row
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Chunk, Failure, Reply, Result
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")
TEXT = text_of("a", 40)


def chunk(start: int, pieces: str) -> Chunk:
    return Chunk(
        "a", 0, "steps", "m", "1", from_=start, output=msgspec.Raw(msgspec.json.encode(list(pieces)))
    )


def result(text: str) -> Result:
    return Result("a", "steps", "m", "1", msgspec.Raw(msgspec.json.encode(StepsOutput(text, len(text)))))


def read(log: StreamLog, *replies: Reply) -> StreamCounts:
    for reply in replies:
        log.read(Record(TOPICS.replies, 0, 0, None, encode(reply), (), 0))
    return log.counts


@pytest.fixture
def log(clock: FakeClock) -> StreamLog:
    log = StreamLog(clock)
    log.asked("a", TEXT)
    return log


def test_chunks_that_are_told_again_and_cut_otherwise_are_at_their_place(log: StreamLog) -> None:
    mark = chunk(0, "")
    told = [chunk(0, TEXT[:9]), chunk(9, TEXT[9:20]), mark, chunk(0, TEXT[:15]), chunk(15, TEXT[15:])]
    counts = read(log, *told, result(TEXT))
    assert (counts.streams, counts.chunks, counts.misplaced, counts.wrong) == (1, 5, 0, 0)


@pytest.mark.parametrize("wrong", [chunk(1, TEXT[:9]), chunk(0, TEXT[:3] + "!"), chunk(39, TEXT[39] * 2)])
def test_a_chunk_with_other_characters_is_misplaced(log: StreamLog, wrong: Chunk) -> None:
    assert read(log, wrong).misplaced == 1


def test_an_answer_with_another_text_is_wrong(log: StreamLog) -> None:
    assert read(log, result(TEXT[:-1])).wrong == 1


def test_a_stream_that_is_left_is_open_until_its_first_end(log: StreamLog, clock: FakeClock) -> None:
    log.left("a", "killed")
    assert read(log, chunk(0, TEXT[:2])).open == 1
    clock.advance(3)
    ended = Failure("a", "steps", "cancelled", "No.")
    assert read(log, ended, ended).left == [LeftStream("killed", log.counts.left[0].at_s, 3, "cancelled")]
    assert log.counts.open == 0


def test_a_stream_whose_end_was_read_before_its_client_leaves_it_is_not_open(
    log: StreamLog, clock: FakeClock
) -> None:
    read(log, result(TEXT), Failure("a", "steps", "cancelled", "A repetition."))
    log.left("a", "leaves")
    assert [(one.ended_after_s, one.code) for one in log.counts.left] == [(0, "result")]
    assert log.counts.open == 0


def test_every_place_of_a_text_looks_different() -> None:
    text = text_of("customer-stream-17", 6_000)
    assert (len(text), text.strip()) == (6_000, text)
    assert max(Counter(text[at : at + 12] for at in range(5_980)).values()) == 1


@asynccontextmanager
async def served(graph: Graph) -> AsyncGenerator[Broker]:
    async with asyncio.timeout(60), EmbeddedBroker() as broker:
        serving = steps_worker(broker, TOPICS, graph)
        running = asyncio.create_task(serving.run())
        await wait_until(lambda: serving.ready or running.done())
        yield broker
        serving.drain()
        await running


async def calls(graph: Graph) -> StreamCounts:
    """What is seen of some streams, once all have ended."""
    log = StreamLog(time.monotonic)
    async with served(graph) as broker:
        load = StreamLoad(broker, TOPICS, log, seed=1)
        replies = await broker.consume([TOPICS.replies])
        await load.send(40, time.monotonic() + 0.6)
        while records := await replies.poll(1_000, 200):
            for record in records:
                log.read(record)
        await replies.close()
    return log.counts


@pytest.fixture
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    know_steps(monkeypatch)


@pytest.mark.usefixtures("contract")
async def test_callers_read_whole_streams_and_those_that_leave_end_theirs() -> None:
    counts = await calls(SlowSession())
    assert counts.read >= 3
    assert {one.how for one in counts.left} == {"leaves", "cancels"}
    assert {one.code for one in counts.left} == {"cancelled"}
    assert counts.read + len(counts.left) == counts.streams
    assert (counts.torn, counts.misplaced, counts.wrong, counts.open) == (0, 0, 0, 0)
    assert not counts.unanswered


class ChangedAnswers(SlowSession):
    """Makes another character of each `7`."""

    def run(self, feeds: Any) -> Any:
        (made,) = super().run(feeds)
        return [np.where(made == ord("7"), ord("8"), made)]


@pytest.mark.usefixtures("contract")
async def test_a_changed_character_is_seen_on_the_topic_by_the_caller_and_in_the_answer() -> None:
    counts = await calls(ChangedAnswers())
    assert counts.torn > 0
    assert counts.misplaced > 0
    assert counts.wrong > 0


@pytest.mark.usefixtures("contract")
async def test_a_request_that_fails_is_an_unanswered_stream() -> None:
    class Broken(SlowSession):
        def run(self, feeds: Any) -> Any:
            if (feeds["input_ids"] == ord("3")).any():
                raise DeviceError("No.")
            return super().run(feeds)

    counts = await calls(Broken())
    assert counts.unanswered["device_error, reads"] > 0
    assert counts.torn == 0, "what was read before is right"


@pytest.fixture
def faults() -> FaultState:
    return FaultState()


@pytest.fixture
def model(faults: FaultState) -> FaultySteps:
    return FaultySteps(0.0, lambda: faults, time.time)


def a_row(text: str) -> Row:
    return Row([ord(character) for character in text], START)


def test_a_marked_text_fails_at_its_step_and_its_row_is_as_it_was(model: FaultySteps) -> None:
    row, neighbor = a_row(f"ab {FAILS} z"), a_row("c" * 40)
    model.step([row, neighbor])
    before = len(f"ab {FAILS}") - 1
    for _ in range(before):
        model.step([row, neighbor])
    with pytest.raises(DeviceError):
        model.step([row, neighbor])
    assert (row.state, neighbor.state) == (before, before)
    model.step([neighbor])
    assert model.counts.rows == 2 + 2 * before + 1


def test_the_device_is_away_twice_at_a_marked_step(model: FaultySteps) -> None:
    for attempt in range(3):
        row = a_row(AWAY)
        model.step([row])
        for _ in AWAY[:-1]:
            model.step([row])
        if attempt < 2:
            with pytest.raises(DeviceUnavailable):
                model.step([row])
            model.drop([row])
        else:
            assert isinstance(model.step([row])[0], Last)
    assert not model.running
    assert not model._marked


def test_a_marked_step_ends_the_process(model: FaultySteps, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended() -> None:
        raise SystemExit("aborted")

    monkeypatch.setattr("os.abort", ended)
    row = a_row(ABORTS)
    model.step([row])
    for _ in ABORTS[:-1]:
        model.step([row])
    with pytest.raises(SystemExit, match="aborted"):
        model.step([row])


def test_a_device_that_is_short_of_memory_runs_some_rows(model: FaultySteps, faults: FaultState) -> None:
    faults.small_until = time.monotonic() + 60
    rows = [a_row("abc") for _ in range(SMALL_ROWS + 1)]
    model.step(rows)
    with pytest.raises(DeviceOutOfMemory):
        model.step(rows)
    model.step(rows[:SMALL_ROWS])


def test_each_step_after_a_deadline_is_counted(model: FaultySteps) -> None:
    due_ms = round((time.time() - 1) * 1e3)
    row = a_row(f"{DUE}{due_ms}")
    model.step([row])
    model.step([row, *[]])
    assert model.counts.late_rows == 2
    assert model.counts.latest_s > 0.9


def report(**changes: Any) -> ChaosReport:
    values: dict[str, Any] = {
        "scenario": load_scenario("steps"),
        "seed": 1,
        "seconds": 40.0,
        "calm_s": 10.0,
        "planned": (),
        "happened": [],
        "exits": [],
        "seen": [],
        "sent": [],
        "open": [],
        "memory_mb": [],
        "device": {},
        "settled_s": 41.0,
        "judgment": Judgment(40, {}, lost=0, duplicated=0, out_of_order=0, torn=1, chunks=90, cancelled=3),
    }
    return ChaosReport(**values | changes)


def test_figures_of_streams() -> None:
    left = [
        LeftStream("leaves", 8.0, 0.1, "cancelled"),
        LeftStream("cancels", 20.0, 0.3, "cancelled"),
        LeftStream("killed", 30.0, 4.0, "result"),
    ]
    counts = StreamCounts(9, 6, torn=2, chunks=90, misplaced=1, left=left, open=1)
    counts.unanswered["overloaded, reads"] = 4
    from inferstream.pipeline.lab.chaos.faulty_session import DeviceCounts

    found = {one.name: one for one in figures(report(streams=counts, device=DeviceCounts()))}
    values = {name: one.value for name, one in found.items()}
    assert (values["streams"], values["streams_torn"], values["streams_unanswered"]) == (9, 2, 4)
    assert (values["chunks"], values["chunks_torn"], values["chunks_misplaced"]) == (90, 1, 1)
    assert (values["left"], values["left_open"], values["left_answered"]) == (4, 1, 1)
    assert (values["left_calm_p50_ms"], values["left_storm_p50_ms"], values["killed_p50_s"]) == (100, 300, 4)
    assert found["chunks_torn"].met is False


def test_the_audits_torn_answers_are_no_clean_judgment() -> None:
    assert judgment_of(AuditReport(None, None)).clean
    judged = judgment_of(AuditReport(None, None, torn=1))
    assert (judged.torn, judged.clean) == (1, False)


@pytest.mark.kafka
def test_a_killed_client_leaves_streams_which_their_lease_ends(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    config = Config(kafka=KafkaConfig(bootstrap=kafka, topic_prefix=unique))
    topics = Topics("steps", unique)
    log = StreamLog(time.monotonic)

    async def kill() -> str:
        async with asyncio.timeout(90), KafkaBroker(config.kafka) as broker:
            replies = await broker.consume([topics.replies])
            name = await ClientFaults("steps", config, tmp_path, log).kill_client(0.1)
            while not log.counts.left or log.counts.open:
                for record in await replies.poll(1_000, 200):
                    log.read(record)
            await replies.close()
            return name

    with served_steps(kafka, topics):
        assert asyncio.run(kill()) == "client-0"
    assert [(one.how, one.code) for one in log.counts.left] == [("killed", "cancelled")] * 3
    assert (log.counts.misplaced, log.counts.wrong) == (0, 0)
