"""The parts of chaos: the request log, the figures, the faulty session, the load."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console
from support.minilm_model import MiniLM

from inferstream.pipeline.broker.base import Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.cli.commands.chaos import fresh_folder, show
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.errors import DeviceError, DeviceOutOfMemory, DeviceUnavailable
from inferstream.pipeline.lab.chaos.auditing import Judgment, final_judgment
from inferstream.pipeline.lab.chaos.caption_counts import CaptionCounts
from inferstream.pipeline.lab.chaos.faults import InjectedFault, garble
from inferstream.pipeline.lab.chaos.faulty_session import (
    SMALL_TOKENS,
    DeviceCounts,
    FaultState,
    FaultySession,
    deadline_of,
)
from inferstream.pipeline.lab.chaos.figures import figures, memory_growth
from inferstream.pipeline.lab.chaos.plot import plot
from inferstream.pipeline.lab.chaos.report import ChaosReport
from inferstream.pipeline.lab.chaos.request_log import ObservedEnd, RequestLog
from inferstream.pipeline.lab.chaos.scenario import load_scenario
from inferstream.pipeline.lab.chaos.stepped_clock import SteppedClock
from inferstream.pipeline.lab.chaos.takeover import WITHIN_S, longest_silence, takeovers
from inferstream.pipeline.lab.chaos.worker_pool import WorkerExit
from inferstream.pipeline.lab.load.pace import Bursts, ConstantRate, LoadGenerator, Saturating
from inferstream.pipeline.lab.load.requests import ABORTS, AWAY, DUE, FAILS, Mix, Planned, requests
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Failure, Result
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("triage")


def reply(identity: str, *, partition: int = 0, code: str = "") -> Record:
    body = (
        encode(Failure(identity, "triage", code, "No."))
        if code
        else encode(Result(identity, "triage", "m", "1", msgspec.Raw(b"{}")))
    )
    return Record(TOPICS.replies, partition, 0, None, body, (), 0)


def letter(body: bytes, *headers: tuple[str, bytes]) -> Record:
    return Record(TOPICS.dead_letters, 0, 0, None, body, headers, 0)


def planned(identity: str | None, kind: str = "good") -> Planned:
    return Planned(kind, identity, b"k", b'{"id": "%b"}' % (identity or "").encode())


def test_the_request_log_pairs_ends_with_requests(clock: FakeClock) -> None:
    log = RequestLog(TOPICS, clock)
    log.sent(planned("a"))
    log.sent(planned("a", "again"))
    log.sent(planned(None, "garbage"))
    clock.advance(2)
    assert log.open == 2
    log.read(reply("a", partition=3))
    clock.advance(1)
    log.read(reply("a", partition=3))
    log.read(reply("inferstream.triage.requests/0/7", code="not_json"))
    assert log.open == 0
    assert log.seen == [
        ObservedEnd(2, 3, "good", "result", 2, "a"),
        ObservedEnd(3, 3, "again", "result", 3, "a"),
        ObservedEnd(3, 0, "garbage", "not_json", None),
    ]
    log.read(reply("a"))
    log.read(reply("inferstream.triage.requests/0/7", code="not_json"))
    assert (log.repeated, log.open) == (2, 0)


def test_a_dead_letter_ends_a_request_only_where_there_is_no_reply(clock: FakeClock) -> None:
    log = RequestLog(TOPICS, clock)
    log.sent(planned("a"))
    log.sent(planned("b"))
    log.read(letter(b'{"id": "a", "text": "t"}', (Header.ERROR_CODE, b"device_error")))
    assert log.open == 2
    log.read(letter(b'{"id": "b", "text": "t"}', (Header.ERROR_CODE, b"reply_topic_not_allowed")))
    assert log.open == 1


def test_silence_counts_from_the_fault_on_until_the_next() -> None:
    times = [9.0, 9.9, 10.1, 16.0, 16.1, 30.0]
    assert longest_silence(times, begin=10.0, end=31.0) == (pytest.approx(13.9), False)
    assert longest_silence(times, begin=10.0, end=16.6) == (pytest.approx(5.9), False)
    assert longest_silence(times, begin=10.0, end=29.0) == (pytest.approx(12.9), True), (
        "its length is not known"
    )
    assert longest_silence(times, begin=15.0, end=15.5) is None, "it had no replies before"


def test_takeover_is_the_longest_silence_of_any_partition_of_the_ended_worker() -> None:
    seen = [ObservedEnd(at / 10, at % 3, "good", "result", 0.1) for at in range(100)]
    seen += [ObservedEnd(15 + at / 10, at % 3, "good", "result", 0.1) for at in range(100)]
    seen = [one for one in seen if one.partition or one.at_s < 9 or one.at_s > 17]
    injected = [
        InjectedFault("kill_worker", 9.5, 9.5, "worker 1", [1, 2]),
        InjectedFault("kill_worker", 60.0, 60.0, "worker 1", []),
    ]
    assert takeovers(seen, injected, "kill_worker") == [pytest.approx(5.6, abs=0.3)]
    assert takeovers(seen, injected, "stop_worker") == []
    injected.insert(1, InjectedFault("kill_leader", 12.0, 12.0, "broker 1", []))
    assert takeovers(seen, injected, "kill_worker") == [], "the silence lasted until the next fault"


def test_topics_that_are_made_again_are_taken_over_from_then_on() -> None:
    seen = [ObservedEnd(at / 10, 0, "good", "result", 0.1) for at in range(95)]
    seen += [ObservedEnd(15 + at / 10, 0, "good", "result", 0.1) for at in range(200)]
    assert takeovers(seen, [InjectedFault("remake_topics", 9.5, 12.5, "", [0])], "remake_topics") == [
        pytest.approx(2.5)
    ]


def test_partitions_without_any_later_reply_are_not_left_out() -> None:
    seen = [ObservedEnd(at / 10, 0, "good", "result", 0.1) for at in range(100)]
    injected = [InjectedFault("kill_worker", 9.9, 9.9, "worker 1", [0])]
    assert takeovers(seen, injected, "kill_worker") == [WITHIN_S]


def test_memory_growth_is_measured() -> None:
    flat = [(float(second), 0, 1, 100.0) for second in range(90)]
    growing = [(float(second), 1, 2, 100.0 + second) for second in range(90)]
    young = [(float(second), 1, 3, 10.0 * second + 1) for second in range(20)]
    assert memory_growth(flat + young) == 0
    assert memory_growth(flat + growing + young) == pytest.approx(30 / 144.5, abs=0.01)
    assert memory_growth(young) is None


def report(**changes: Any) -> ChaosReport:
    seen = [ObservedEnd(at / 10, at % 8, "good", "result", 0.05) for at in range(400)]
    values: dict[str, Any] = {
        "scenario": load_scenario("kill_workers"),
        "seed": 1,
        "seconds": 40.0,
        "calm_s": 10.0,
        "planned": (),
        "happened": [
            InjectedFault("kill_worker", 20.0, 20.1, "worker 1", [1]),
            InjectedFault("rolling_restart", 25.0, 35.0, "all brokers"),
        ],
        "exits": [WorkerExit(20.1, 1, -9, True), WorkerExit(30.0, 0, 1, False)],
        "seen": seen,
        "sent": [],
        "open": [(0.0, 1), (20.0, 7)],
        "memory_mb": [(float(second), 0, 7, 180.0) for second in range(80)],
        "device": DeviceCounts(rows=400),
        "settled_s": 41.5,
        "judgment": Judgment(400, {"results": 400}, lost=0, duplicated=5, out_of_order=0),
    }
    return ChaosReport(**values | changes)


def test_figures_are_compared_with_their_goals() -> None:
    found = {figure.name: figure for figure in figures(report())}
    assert (found["lost"].value, found["lost"].goal, found["lost"].met) == (0, "≤ 0", True)
    assert (found["unwanted_exits"].value, found["unwanted_exits"].met) == (1, False)
    assert found["duplicated_per_kill"].value == 5
    assert found["calm_per_s"].value == pytest.approx(10)
    assert found["takeover_kill_p95_s"].value == pytest.approx(0.8, abs=0.1)
    assert (found["takeover_stop_p95_s"].value, found["takeover_stop_p95_s"].met) == (None, False)
    assert found["settled_after_s"].value == 1.5
    assert "throughput_share" not in found, "it has no meaning below full load"


def test_requests_in_transactions_must_end_with_a_result_and_are_no_measure_of_latency() -> None:
    seen = [ObservedEnd(at / 10, 0, "good", "result", 0.05, stored_s=0.04) for at in range(400)]
    seen += [ObservedEnd(20.0, 0, "in_transaction", "result", 0.5, stored_s=0.5)] * 100
    seen += [
        ObservedEnd(21.0, 0, "in_transaction", "device_error", 0.5),
        ObservedEnd(21.0, 0, "giant", "x", 1),
    ]
    found = {figure.name: figure.value for figure in figures(report(seen=seen))}
    assert (found["calm_p99_ms"], found["storm_p99_ms"], found["harmed"]) == (40, 40, 1)


def test_throughput_under_faults_is_a_share_of_the_calm_at_full_load() -> None:
    seen = [ObservedEnd(at / 20, 0, "good", "result", 0.05) for at in range(200)]
    seen += [ObservedEnd(10 + at / 16, 0, "good", "result", 0.05) for at in range(480)]
    found = figures(report(scenario=load_scenario("rebalances"), seen=seen))
    share = next(figure for figure in found if figure.name == "throughput_share")
    assert share.value == pytest.approx(0.8, abs=0.01)
    assert share.met


def test_the_timeline_is_a_picture(tmp_path: Path) -> None:
    plot(report(), tmp_path / "timeline.png")
    plot(report(seen=[], memory_mb=[], open=[], happened=[]), tmp_path / "empty.png")
    assert (tmp_path / "timeline.png").read_bytes()[:4] == b"\x89PNG"


async def test_the_audit_is_repeated_while_requests_are_missing_until_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inferstream.pipeline.lab.chaos.auditing.REPEAT_S", 0.0)
    left = [3, 1, 0]

    async def judge() -> Judgment:
        return Judgment(9, {}, lost=left.pop(0), duplicated=0, out_of_order=0)

    assert (await final_judgment(judge, timeout_s=60)).lost == 0
    left[:] = [2, 0]
    assert (await final_judgment(judge, timeout_s=0)).lost == 2


@pytest.fixture
def faulty(minilm: MiniLM) -> FaultySession:
    from inferstream.pipeline.lab.chaos.serving import decoder

    faults = FaultState()
    session = FaultySession(minilm.session, decoder("minilm-int8"), lambda: faults, time.time)
    session.faults = faults  # type: ignore[attr-defined]
    return session


def test_a_session_that_reads_no_texts_counts_rows_and_obeys_faults(minilm: MiniLM) -> None:
    faults = FaultState()
    session = FaultySession(minilm.session, None, lambda: faults, time.time)
    session.run(feeds(minilm, "first", f"second {FAILS}"))
    assert session.counts.rows == 2
    faults.away_until = time.monotonic() + 60
    with pytest.raises(DeviceUnavailable):
        session.run(feeds(minilm, "third"))


def feeds(minilm: MiniLM, *texts: str) -> dict[str, Any]:
    rows = [windows[0] for windows in minilm.tokenizer.encode(texts)]
    longest = max(map(len, rows))
    ids = np.array([row + [minilm.tokenizer.pad_id] * (longest - len(row)) for row in rows], np.int64)
    return {"input_ids": ids, "attention_mask": (ids != minilm.tokenizer.pad_id).astype(np.int64)}


def test_a_faulty_session_runs_texts_without_a_mark(faulty: FaultySession, minilm: MiniLM) -> None:
    given = feeds(minilm, "Where is my parcel?", "I was charged twice")
    assert np.array_equal(faulty.run(given)[0], minilm.session.run(given)[0])
    assert faulty.counts.rows == 2


def test_marked_texts_fail_or_find_the_device_away(faulty: FaultySession, minilm: MiniLM) -> None:
    with pytest.raises(DeviceError):
        faulty.run(feeds(minilm, "harmless", f"{FAILS} run-17 my parcel"))
    away = feeds(minilm, f"{AWAY} run-18 my parcel")
    for _ in range(2):
        with pytest.raises(DeviceUnavailable):
            faulty.run(away)
    faulty.run(away)


def test_a_marked_text_ends_the_process(
    faulty: FaultySession, minilm: MiniLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended() -> None:
        raise SystemExit("aborted")

    monkeypatch.setattr("os.abort", ended)
    with pytest.raises(SystemExit, match="aborted"):
        faulty.run(feeds(minilm, f"{ABORTS} run-19"))


def test_device_faults_end(faulty: FaultySession, minilm: MiniLM) -> None:
    faults: FaultState = faulty.faults  # type: ignore[attr-defined]
    given = feeds(minilm, "Where is my parcel?")
    faults.away_until = time.monotonic() + 60
    with pytest.raises(DeviceUnavailable):
        faulty.run(given)
    faults.away_until, faults.small_until = 0.0, time.monotonic() + 60
    faulty.run(given)
    with pytest.raises(DeviceOutOfMemory):
        faulty.run(feeds(minilm, *["where is my parcel " * 10] * (SMALL_TOKENS // 40 + 1)))
    faults.small_until, faults.stalled_until = 0.0, time.monotonic() + 0.1
    faulty.run(given)
    assert time.monotonic() >= faults.stalled_until


def test_rows_after_their_deadline_are_counted(faulty: FaultySession, minilm: MiniLM) -> None:
    now_ms = int(time.time() * 1e3)  # never ahead of the clock, as rounding would be
    in_time, late = (f"my parcel {DUE}{now_ms + after_ms}" for after_ms in (60_000, -500))
    faulty.run(feeds(minilm, in_time, late, "no deadline"))
    assert (faulty.counts.rows, faulty.counts.late_rows) == (3, 1)
    assert 0.5 <= faulty.counts.latest_s < 60
    assert deadline_of(in_time) == (now_ms + 60_000) / 1e3


def test_a_stepped_clock_is_off_by_what_it_was_stepped() -> None:
    clock = SteppedClock(lambda: 1_000.0)
    assert clock() == 1_000
    clock.off_s = -30
    assert (clock(), clock.ns()) == (970, 970_000_000_000)


def test_garbage_goes_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/one", "two"):
        (tmp_path / name).write_bytes(b"answer" * 2_000)
    assert garble(tmp_path) == 2
    assert not (tmp_path / "two").read_bytes().startswith(b"answer")
    assert garble(tmp_path / "nowhere") == 0


async def test_the_load_is_sent_at_its_pace_and_told_of(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.requests, 2)])
        sent: list[Planned] = []
        loadgen = LoadGenerator(broker, TOPICS, sent.append)
        plan = requests(Mix(garbage_share=0.2), "run", 1)
        began = time.monotonic()
        await loadgen.send(plan, ConstantRate(200), lambda: time.monotonic() >= began + 0.5)
        await loadgen.flush(10)
        assert 40 <= len(sent) <= 101
        reader = await broker.consume([TOPICS.requests])
        ends = await reader.end_offsets(reader.assignment())
        assert sum(ends.values()) == len(sent)


async def test_a_full_load_waits_for_ends(clock: FakeClock) -> None:
    open_requests = 2
    pace = Saturating(2, lambda: open_requests)
    due = asyncio.create_task(pace.due())
    assert not (await asyncio.wait([due], timeout=0.05))[0]
    open_requests = 1
    await asyncio.wait_for(due, 5)


async def test_a_burst_comes_at_once(clock: FakeClock) -> None:
    pace = Bursts(3, 60, clock)
    for _ in range(3):
        await asyncio.wait_for(pace.due(), 1)
    fourth = asyncio.create_task(pace.due())
    assert not (await asyncio.wait([fourth], timeout=0.05))[0]
    fourth.cancel()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"judgment": Judgment(9, {}, lost=1, duplicated=0, out_of_order=0)}, 1),
        ({"judgment": Judgment(9, {}, lost=0, duplicated=0, out_of_order=1)}, 1),
        ({"judgment": Judgment(9, {}, lost=0, duplicated=9, out_of_order=0)}, 0),
        ({"settled_s": None}, 1),
        ({"captions": CaptionCounts(superseded=9, passed_over=9)}, 0),
        ({"captions": CaptionCounts(missing=1)}, 1),
    ],
)
def test_the_exit_status_shows_whether_a_request_was_lost(
    changes: dict[str, Any], status: int, tmp_path: Path
) -> None:
    console = Console(quiet=True)
    assert show(report(**changes), tmp_path, console, as_json=True) == status
    assert (tmp_path / "figures.json").exists()


def test_an_earlier_run_keeps_its_folder(tmp_path: Path) -> None:
    for _ in range(3):
        fresh_folder(tmp_path / "short").joinpath("figures.json").write_text("[]")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short", "short.1", "short.2"]
