"""The parts of the scenario `captions`: what its readers count, its speakers, and the whole scenario."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import INFERSTREAM

from inferstream import Caption, Overloaded, StreamReport, Superseded, TranslateOutput
from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.client.captions.open_stream import OpenStream
from inferstream.pipeline.client.sent_request import SentRequest
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.lab.chaos.caption_counts import CaptionCounts, Spoken
from inferstream.pipeline.lab.chaos.caption_load import CaptionLoad, Speech
from inferstream.pipeline.lab.chaos.left_requests import END_S, LeftRequests
from inferstream.testing import FakeClient

TIMEOUT_S = 280.0

SPOKEN = [Spoken("101", 1.0, 0.2), Spoken("102", 2.0, 0.3)]


def partial(segment: int, revision: int, text: str, settled: int = 0) -> Caption:
    return Caption(segment, revision, text, settled=settled)


def final(segment: int, revision: int, text: str) -> Caption:
    return Caption(segment, revision, text, final=True, settled=len(text))


RIGHT = [
    partial(0, 0, "Um", 2),
    partial(0, 1, "Um 101"),
    final(0, 2, "Um 101."),
    partial(1, 0, "Dois"),
    final(1, 1, "E 102."),
]


def counted(*shown: Caption) -> CaptionCounts:
    counts = CaptionCounts()
    counts.ended("stable", SPOKEN, shown, StreamReport(partials=5, superseded=2, passed_over=1))
    return counts


def test_a_whole_stream_is_clean_and_superseded_partials_are_counted() -> None:
    counts = counted(*RIGHT)
    assert counts.clean
    assert (counts.finals, counts.partials, counts.superseded, counts.passed_over) == (2, 5, 2, 1)
    figures = counts.figures(warm_s=0.0, calm_s=1.5)
    assert figures["captions_finals"] == 2
    assert figures["captions_calm_p50_ms"] == pytest.approx(200)
    assert figures["captions_storm_p99_ms"] == pytest.approx(300)


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ("missing", RIGHT[:3]),
        ("doubled", [*RIGHT[:3], RIGHT[2], *RIGHT[3:]]),
        ("misordered", [*RIGHT[3:], *RIGHT[:3]]),
        ("misordered", [RIGHT[1], RIGHT[0], *RIGHT[2:]]),
        ("misordered", [*RIGHT[:3], RIGHT[1], *RIGHT[3:]]),
        ("wrong", [*RIGHT[:4], final(1, 1, "E 101.")]),
        ("taken_back", [RIGHT[0], final(0, 2, "A 101."), *RIGHT[3:]]),
    ],
)
def test_what_a_reader_must_not_see_is_counted(fault: str, shown: list[Caption]) -> None:
    counts = counted(*shown)
    assert getattr(counts, fault) >= 1
    assert not counts.clean


def test_a_final_with_an_error_is_a_fault() -> None:
    failed = Caption(1, 1, "", final=True, error=Superseded("A newer request has superseded this one."))
    counts = counted(*RIGHT[:3], failed)
    assert counts.failed == {"superseded": 1}
    assert not counts.clean


def echoed(sent: SentRequest) -> TranslateOutput:
    return TranslateOutput(sent.text, "en", "pt")


def always(counts: CaptionCounts) -> bool:
    return True


async def spoken_to(answer: Any, enough: Callable[[CaptionCounts], bool] = always) -> CaptionCounts:
    """What the readers of some speakers see, who speak for a moment, and until it is ``enough``."""
    counts = CaptionCounts()
    speech = Speech(segment_s=(0.0, 0.01), timeout_s=2.0)
    end = time.monotonic() + 0.3
    async with asyncio.timeout(60), FakeClient({"translate": answer}) as client:
        load = CaptionLoad(client, counts, time.monotonic, seed=1, speech=speech)
        await load.send(6, lambda: time.monotonic() >= end and enough(counts))
    return counts


async def test_readers_of_all_speakers_see_every_final_once() -> None:
    counts = await spoken_to(echoed)
    assert counts.clean, counts
    assert counts.streams.total() >= 6
    assert counts.finals >= counts.streams.total()
    assert len(counts.lags) == counts.finals
    assert set(counts.erased) <= {"stable", "live", "final"}


async def test_partials_that_are_superseded_or_refused_are_no_loss() -> None:
    def busy(sent: SentRequest) -> TranslateOutput:
        if not sent.body.final:
            raise (Superseded("No.") if len(sent.text) % 2 else Overloaded("No."))
        return echoed(sent)

    counts = await spoken_to(busy, lambda counts: counts.superseded > 0 and counts.passed_over > 0)
    assert counts.clean, counts


async def test_a_client_that_drops_a_final_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = OpenStream._finish

    async def forgets(self: OpenStream, segment: Any, question: Any, reply: Any) -> None:
        if segment.number != 1:
            await finish(self, segment, question, reply)

    monkeypatch.setattr(OpenStream, "_finish", forgets)
    counts = await spoken_to(echoed)
    assert counts.missing > 0
    assert not counts.clean


async def test_a_worker_that_supersedes_finals_is_found() -> None:
    def careless(sent: SentRequest) -> TranslateOutput:
        if sent.body.final and sent.body.id.split("/")[1] == "2":
            raise Superseded("A newer request has superseded this one.")
        return echoed(sent)

    counts = await spoken_to(careless)
    assert counts.failed["superseded"] > 0
    assert not counts.clean


def a_record(topic: str, key: str, body: dict[str, Any]) -> Record:
    return Record(topic, 0, 0, key.encode(), json.dumps(body).encode(), (), 0)


def asked(identity: str) -> Record:
    return a_record("requests", identity.split("/", maxsplit=1)[0], {"id": identity, "text": "Hello."})


def ended(identity: str, code: str = "cancelled") -> Record:
    failure = {"type": "failure", "id": identity, "code": code, "message": "It ended.", "task": "translate"}
    return a_record("replies", identity.split("/", maxsplit=1)[0], failure)


def test_requests_of_a_killed_speaker_are_open_until_each_has_ended() -> None:
    clock = FakeClock()
    left = LeftRequests("mine-", "requests", clock)
    left.read(
        [asked("mine-0/0/0"), ended("mine-0/0/0", "superseded"), asked("mine-0/0/1"), asked("other-0/0/0")]
    )
    assert (left.open, left.is_over) == (1, False)
    left.killed()
    clock.advance(1.0)
    left.read([a_record("requests", "mine-0", {}), asked("mine-1/0/0"), ended("mine-1/0/0", "superseded")])
    clock.advance(1.5)
    assert (left.open, left.is_over) == (1, False)
    left.read([ended("mine-0/0/1"), ended("mine-0/0/1")])
    assert (left.open, left.is_over, left.cancelled) == (0, True, 1)
    assert left.ended_after_s == [1.0, 2.5]


def test_a_request_of_a_killed_speaker_that_never_ends_is_found() -> None:
    clock = FakeClock()
    left = LeftRequests("mine-", "requests", clock)
    left.read([asked("mine-0/0/0")])
    left.killed()
    clock.advance(END_S)
    assert left.is_over
    counts = CaptionCounts()
    counts.left(left)
    assert counts.figures(0.0, 1.0)["captions_left_open"] == 1
    assert not counts.clean


@pytest.mark.kafka
def test_the_whole_scenario_in_short(tmp_path: Path) -> None:
    subprocess.run([INFERSTREAM, "models", "pull", "translate-en-pt"], check=True, capture_output=True)
    arguments = ["--scenario", "captions", "--minutes", "0.5", "--out", str(tmp_path), "--json"]
    done = subprocess.run([INFERSTREAM, "chaos", *arguments], capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr.decode()
    figures = {row["name"]: row["value"] for row in json.loads(done.stdout)}
    assert (figures["lost"], figures["out_of_order"], figures["unwanted_exits"]) == (0, 0, 0)
    assert figures["captions_finals"] > 50
    assert figures["captions_partials"] > 100
    none = ("missing", "doubled", "misordered", "failed", "wrong", "taken_back", "broken", "left_open")
    assert {name: figures[f"captions_{name}"] for name in none} == dict.fromkeys(none, 0)
