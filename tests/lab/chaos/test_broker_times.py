"""Latency by the broker's clock, and how late the run itself is."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.lab.chaos.broker_times import stored_requests, with_broker_times
from inferstream.pipeline.lab.chaos.figures import figures
from inferstream.pipeline.lab.chaos.request_log import ObservedEnd, RequestLog
from inferstream.pipeline.lab.chaos.sampling import RunSamples
from inferstream.schemas.topics import Topics

from .test_parts import report

TOPICS = Topics("triage")


def end(identity: str, replied_ms: int, latency_s: float = 0.5, at_s: float = 0.0) -> ObservedEnd:
    return ObservedEnd(at_s, 0, "good", "result", latency_s, identity, replied_ms)


def test_a_latency_is_the_time_between_two_appends_and_not_what_the_run_saw() -> None:
    seen = [end("a", 1_030), end("b", 2_000), end("unknown", 3_000), end("a", 1_400)]
    timed = with_broker_times(seen, {"a": [1_000, 1_100], "b": [1_990], "never ended": [5]})
    assert [one.stored_s for one in timed] == pytest.approx([0.03, 0.01, None, 0.3])
    assert [one.latency_s for one in timed] == [0.5] * 4


def test_the_goal_is_judged_by_the_broker_s_clock() -> None:
    seen = [end("a", 0, latency_s=0.05 if at < 100 else 5.0, at_s=at / 10) for at in range(400)]
    seen = [one._replace(stored_s=0.04 if one.at_s < 10 else 0.06) for one in seen]
    behind = [(at / 10, 0.001 if at < 100 else 0.4) for at in range(400)]
    found = {figure.name: figure.value for figure in figures(report(seen=seen, behind=behind))}
    assert (found["calm_p99_ms"], found["storm_p99_ms"], found["latency_share"]) == (40, 60, 1.5)
    assert (found["run_calm_p99_ms"], found["run_storm_p99_ms"]) == (50, 5_000)
    assert (found["behind_calm_p99_ms"], found["behind_storm_p99_ms"]) == (1, 400)


async def test_stored_requests_are_read_to_the_end_whatever_they_are(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics([TopicSpec(TOPICS.requests, 2)])
        before_ms = int(time.time() * 1e3)
        bodies = [b'{"id": "a", "text": "t"}', b'{"id": "torn", "text', b"\xff", b"", b'{"text": "no id"}']
        for body in [*bodies, bodies[0]]:
            await broker.publish(Message(TOPICS.requests, body))
        stored = await asyncio.wait_for(stored_requests(broker, TOPICS.requests), 20)
    assert {identity: len(times) for identity, times in stored.items()} == {"a": 2, "torn": 1}
    assert all(before_ms - 1 <= at <= time.time() * 1e3 + 1 for times in stored.values() for at in times)


async def test_a_run_that_is_held_up_sees_that_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    now: Iterator[float] = iter([0.0, 0.0, 0.02, 1.0, 1.5, *[2.0] * 100])
    samples = RunSamples(RequestLog(TOPICS, lambda: next(now)))
    monkeypatch.setattr("inferstream.pipeline.lab.chaos.sampling.BEHIND_EVERY_S", 0.02)
    sampling = asyncio.ensure_future(samples.sample_behind())
    while len(samples.behind) < 2:  # noqa: ASYNC110 - a sampler has no event
        await asyncio.sleep(0.001)
    sampling.cancel()
    assert samples.behind[:2] == [(pytest.approx(0.02), pytest.approx(0.0)), (1.02, pytest.approx(0.48))]
