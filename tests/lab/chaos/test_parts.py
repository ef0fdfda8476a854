"""Chaos, part by part: what the run sees, what it concludes, how a worker is made to misbehave, who leads."""

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
from inferstream.pipeline.cli.commands.chaos import fresh_folder, tell
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.errors import DeviceError, DeviceOutOfMemory, DeviceUnavailable
from inferstream.pipeline.lab.chaos.auditing import Judgment, final_judgment
from inferstream.pipeline.lab.chaos.crew import Exit
from inferstream.pipeline.lab.chaos.device import SMALL_TOKENS, Count, Mood, RehearsedSession, due_of
from inferstream.pipeline.lab.chaos.faults import Happened, garble
from inferstream.pipeline.lab.chaos.figures import figures, memory_growth, percentile
from inferstream.pipeline.lab.chaos.ledger import Ledger, Seen
from inferstream.pipeline.lab.chaos.plot import plot
from inferstream.pipeline.lab.chaos.report import Report
from inferstream.pipeline.lab.chaos.scenario import load_scenario
from inferstream.pipeline.lab.chaos.stepped_clock import SteppedClock
from inferstream.pipeline.lab.chaos.takeover import WITHIN_S, longest_silence, takeovers
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


def test_the_ledger_pairs_ends_with_requests(clock: FakeClock) -> None:
    ledger = Ledger(TOPICS, clock)
    ledger.sent(planned("a"))
    ledger.sent(planned("a", "again"))
    ledger.sent(planned(None, "garbage"))
    clock.advance(2)
    assert ledger.open == 2
    ledger.read(reply("a", partition=3))
    clock.advance(1)
    ledger.read(reply("a", partition=3))
    ledger.read(reply("inferstream.triage.requests/0/7", code="not_json"))
    assert ledger.open == 0
    assert ledger.seen == [
        Seen(2, 3, "good", "result", 2),
        Seen(3, 3, "again", "result", 3),
        Seen(3, 0, "garbage", "not_json", None),
    ]
    ledger.read(reply("a"))
    ledger.read(reply("inferstream.triage.requests/0/7", code="not_json"))
    assert (ledger.repeated, ledger.open) == (2, 0)


def test_a_dead_letter_ends_a_request_only_where_there_is_no_reply(clock: FakeClock) -> None:
    ledger = Ledger(TOPICS, clock)
    ledger.sent(planned("a"))
    ledger.sent(planned("b"))
    ledger.read(letter(b'{"id": "a", "text": "t"}', (Header.ERROR_CODE, b"device_error")))
    assert ledger.open == 2
    ledger.read(letter(b'{"id": "b", "text": "t"}', (Header.ERROR_CODE, b"reply_topic_not_allowed")))
    assert ledger.open == 1


def test_silence_counts_from_the_fault_on_until_the_next() -> None:
    times = [9.0, 9.9, 10.1, 16.0, 16.1, 30.0]
    assert longest_silence(times, begin=10.0, end=31.0) == (pytest.approx(13.9), False)
    assert longest_silence(times, begin=10.0, end=16.6) == (pytest.approx(5.9), False)
    assert longest_silence(times, begin=10.0, end=29.0) == (pytest.approx(12.9), True), (
        "nobody knows how long"
    )
    assert longest_silence(times, begin=15.0, end=15.5) is None, "it was silent before"


def test_takeover_is_the_longest_silence_of_any_partition_of_the_dead() -> None:
    seen = [Seen(at / 10, at % 3, "good", "result", 0.1) for at in range(100)]
    seen += [Seen(15 + at / 10, at % 3, "good", "result", 0.1) for at in range(100)]
    seen = [one for one in seen if one.partition or one.at_s < 9 or one.at_s > 17]
    happened = [
        Happened("kill_worker", 9.5, 9.5, "worker 1", [1, 2]),
        Happened("kill_worker", 60.0, 60.0, "worker 1", []),
    ]
    assert takeovers(seen, happened, "kill_worker") == [pytest.approx(5.6, abs=0.3)]
    assert takeovers(seen, happened, "stop_worker") == []
    happened.insert(1, Happened("kill_leader", 12.0, 12.0, "broker 1", []))
    assert takeovers(seen, happened, "kill_worker") == [], "it was silent still when the next fault came"


def test_partitions_that_never_answer_again_are_not_left_out() -> None:
    seen = [Seen(at / 10, 0, "good", "result", 0.1) for at in range(100)]
    happened = [Happened("kill_worker", 9.9, 9.9, "worker 1", [0])]
    assert takeovers(seen, happened, "kill_worker") == [WITHIN_S]


def test_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 95.0
    assert percentile([], 0.5) is None


def test_memory_that_grows_is_told() -> None:
    flat = [(float(second), 0, 1, 100.0) for second in range(90)]
    growing = [(float(second), 1, 2, 100.0 + second) for second in range(90)]
    young = [(float(second), 1, 3, 10.0 * second + 1) for second in range(20)]
    assert memory_growth(flat + young) == 0
    assert memory_growth(flat + growing + young) == pytest.approx(30 / 144.5, abs=0.01)
    assert memory_growth(young) is None


def report(**changes: Any) -> Report:
    seen = [Seen(at / 10, at % 8, "good", "result", 0.05) for at in range(400)]
    values: dict[str, Any] = {
        "scenario": load_scenario("kill_workers"),
        "seed": 1,
        "seconds": 40.0,
        "calm_s": 10.0,
        "planned": (),
        "happened": [
            Happened("kill_worker", 20.0, 20.1, "worker 1", [1]),
            Happened("rolling_restart", 25.0, 35.0, "all brokers"),
        ],
        "exits": [Exit(20.1, 1, -9, True), Exit(30.0, 0, 1, False)],
        "seen": seen,
        "sent": [],
        "open": [(0.0, 1), (20.0, 7)],
        "memory_mb": [(float(second), 0, 7, 180.0) for second in range(80)],
        "device": Count(rows=400),
        "settled_s": 41.5,
        "judgment": Judgment(400, {"results": 400}, lost=0, duplicated=5, out_of_order=0),
    }
    return Report(**values | changes)


def test_figures_stand_beside_their_goals() -> None:
    found = {figure.name: figure for figure in figures(report())}
    assert (found["lost"].value, found["lost"].goal, found["lost"].met) == (0, "≤ 0", True)
    assert (found["unwanted_exits"].value, found["unwanted_exits"].met) == (1, False)
    assert found["duplicated_per_kill"].value == 5
    assert found["calm_per_s"].value == pytest.approx(10)
    assert found["takeover_kill_p95_s"].value == pytest.approx(0.8, abs=0.1)
    assert (found["takeover_stop_p95_s"].value, found["takeover_stop_p95_s"].met) == (None, False)
    assert found["settled_after_s"].value == 1.5
    assert "throughput_share" not in found, "at a steady pace it says nothing"


def test_throughput_under_faults_is_a_share_of_the_calm_at_full_load() -> None:
    seen = [Seen(at / 20, 0, "good", "result", 0.05) for at in range(200)]
    seen += [Seen(10 + at / 16, 0, "good", "result", 0.05) for at in range(480)]
    found = figures(report(scenario=load_scenario("rebalances"), seen=seen))
    share = next(figure for figure in found if figure.name == "throughput_share")
    assert share.value == pytest.approx(0.8, abs=0.01)
    assert share.met


def test_the_timeline_is_a_picture(tmp_path: Path) -> None:
    plot(report(), tmp_path / "timeline.png")
    plot(report(seen=[], memory_mb=[], open=[], happened=[]), tmp_path / "empty.png")
    assert (tmp_path / "timeline.png").read_bytes()[:4] == b"\x89PNG"


async def test_what_is_missing_is_asked_for_again_until_patience_is_over(
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
def rehearsed(minilm: MiniLM) -> RehearsedSession:
    from inferstream.pipeline.lab.chaos.serving import decoder

    mood = Mood()
    session = RehearsedSession(minilm.session, decoder("minilm-int8"), lambda: mood, time.time)
    session.mood = mood  # type: ignore[attr-defined]
    return session


def feeds(minilm: MiniLM, *texts: str) -> dict[str, Any]:
    rows = [windows[0] for windows in minilm.tokenizer.encode(texts)]
    longest = max(map(len, rows))
    ids = np.array([row + [minilm.tokenizer.pad_id] * (longest - len(row)) for row in rows], np.int64)
    return {"input_ids": ids, "attention_mask": (ids != minilm.tokenizer.pad_id).astype(np.int64)}


def test_a_rehearsed_session_runs_what_is_harmless(rehearsed: RehearsedSession, minilm: MiniLM) -> None:
    given = feeds(minilm, "Where is my parcel?", "I was charged twice")
    assert np.array_equal(rehearsed.run(given)[0], minilm.session.run(given)[0])
    assert rehearsed.count.rows == 2


def test_marked_texts_fail_or_find_the_device_away(rehearsed: RehearsedSession, minilm: MiniLM) -> None:
    with pytest.raises(DeviceError):
        rehearsed.run(feeds(minilm, "harmless", f"{FAILS} run-17 my parcel"))
    away = feeds(minilm, f"{AWAY} run-18 my parcel")
    for _ in range(2):
        with pytest.raises(DeviceUnavailable):
            rehearsed.run(away)
    rehearsed.run(away)


def test_a_marked_text_ends_the_process(
    rehearsed: RehearsedSession, minilm: MiniLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended() -> None:
        raise SystemExit("aborted")

    monkeypatch.setattr("os.abort", ended)
    with pytest.raises(SystemExit, match="aborted"):
        rehearsed.run(feeds(minilm, f"{ABORTS} run-19"))


def test_moods_pass(rehearsed: RehearsedSession, minilm: MiniLM) -> None:
    mood: Mood = rehearsed.mood  # type: ignore[attr-defined]
    given = feeds(minilm, "Where is my parcel?")
    mood.away_until = time.monotonic() + 60
    with pytest.raises(DeviceUnavailable):
        rehearsed.run(given)
    mood.away_until, mood.small_until = 0.0, time.monotonic() + 60
    rehearsed.run(given)
    with pytest.raises(DeviceOutOfMemory):
        rehearsed.run(feeds(minilm, *["where is my parcel " * 10] * (SMALL_TOKENS // 40 + 1)))
    mood.small_until, mood.stalled_until = 0.0, time.monotonic() + 0.1
    rehearsed.run(given)
    assert time.monotonic() >= mood.stalled_until


def test_what_reaches_the_device_too_late_is_counted(rehearsed: RehearsedSession, minilm: MiniLM) -> None:
    now_ms = int(time.time() * 1e3)  # never ahead of the clock, as rounding would be
    in_time, late = (f"my parcel {DUE}{now_ms + after_ms}" for after_ms in (60_000, -500))
    rehearsed.run(feeds(minilm, in_time, late, "no deadline"))
    assert (rehearsed.count.rows, rehearsed.count.late_rows) == (3, 1)
    assert 0.5 <= rehearsed.count.latest_s < 60
    assert due_of(in_time) == (now_ms + 60_000) / 1e3


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
    ],
)
def test_the_exit_status_says_whether_the_promise_held(
    changes: dict[str, Any], status: int, tmp_path: Path
) -> None:
    console = Console(quiet=True)
    assert tell(report(**changes), tmp_path, console, as_json=True) == status
    assert (tmp_path / "figures.json").exists()


def test_an_earlier_run_keeps_its_folder(tmp_path: Path) -> None:
    for _ in range(3):
        fresh_folder(tmp_path / "short").joinpath("figures.json").write_text("[]")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short", "short.1", "short.2"]
