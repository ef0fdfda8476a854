"""A device that fails or hangs behind a worker on a real Kafka: requests wait, and the membership holds."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.failing_worker import FailingSession, failing_worker

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig, RetryConfig, WindowConfig
from inferstream.pipeline.serving.serving import Serving
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Reply, Result
from inferstream.schemas.topics import Header, Topics

PATIENCE_S = 60
SESSION_S = 6.0


@pytest.fixture
def topics(unique: str) -> Topics:
    return Topics("echo", unique)


@pytest.fixture
async def broker(kafka: str) -> AsyncIterator[KafkaBroker]:
    settings = KafkaConfig(bootstrap=kafka, session_timeout_ms=round(SESSION_S * 1e3), heartbeat_ms=1_500)
    async with asyncio.timeout(PATIENCE_S), KafkaBroker(settings) as opened:
        yield opened


@asynccontextmanager
async def running(serving: Serving) -> AsyncIterator[None]:
    """The worker, running; drained at the end."""
    task = asyncio.create_task(serving.run())
    await until(lambda: serving.ready or task.done())
    try:
        yield
    finally:
        serving.drain()
        await task


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def replies(broker: KafkaBroker, topics: Topics, count: int) -> list[Reply]:
    """All replies, once there are ``count`` of them."""
    reader = await broker.consume([topics.replies])
    found: list[Reply] = []
    while len(found) < count:
        found += [decode_reply(record.value) for record in await reader.poll(1_000, 200)]
    await reader.close()
    return found


async def test_requests_that_failed_while_the_device_was_gone_are_answered_when_it_is_back(
    broker: KafkaBroker, topics: Topics, tmp_path: Path
) -> None:
    session, retries = FailingSession(), RetryConfig(tiers_s=[1], max_attempts=9)
    serving = failing_worker(broker, tmp_path, topics, session=session, retries=retries)
    session.gone = True
    async with running(serving):
        for key, headers in (
            (None, ()),
            (b"content", ((Header.ORDER, b"any"),)),
            (b"conversation", ()),
        ):
            await broker.publish(Message(topics.requests, b'{"text":"hello"}', key, headers, 1))
        await until(
            lambda: (
                b'inferstream_retries_total{code="device_unavailable",task="echo"} 2.0'
                in serving.metrics.render()
            )
        )
        session.gone = False
        found = await replies(broker, topics, 3)
    assert all(isinstance(reply, Result) for reply in found)
    assert {reply.id for reply in found} == {f"{topics.requests}/1/{offset}" for offset in range(3)}


async def test_a_device_that_hangs_costs_no_membership(
    broker: KafkaBroker, topics: Topics, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All is paused, since the window is full: the worker still polls, and none of its partitions moves."""
    caplog.set_level(logging.INFO, "inferstream.pipeline.delivery.worker")
    session = FailingSession()
    window = WindowConfig(max_in_flight=5, commit_interval_ms=50)
    serving = failing_worker(broker, tmp_path, topics, session=session, window=window)
    async with running(serving):
        session.stall()
        for number in range(40):
            body = json.dumps({"id": str(number), "text": f"text {number}"}).encode()
            await broker.publish(Message(topics.requests, body))
        await until(lambda: serving.worker.window.running == 5)
        # The consumers of the requests and of the retry topic have joined.
        await until(lambda: caplog.text.count("Serving 2 partitions.") == 2)
        joined = caplog.text.count("Serving")
        await asyncio.sleep(SESSION_S + 2)
        assert serving.worker.window.running == 5, "nothing more was read"
        session.release()
        found = await replies(broker, topics, 40)
        assert caplog.text.count("Serving") == joined, "no rebalance"
    assert sorted(int(reply.id) for reply in found) == list(range(40)), "each once"
