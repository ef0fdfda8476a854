"""A record in a retry topic returns when it is due, blocks no other, and survives its worker."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
from delivery.test_worker import running, until
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Headers, Message, Record, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import WindowConfig
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.retries import JITTER
from inferstream.pipeline.delivery.retry_returner import RetryReturner
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.delivery.worker import Subscription, Worker
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("echo")
WAITING = TOPICS.retry("30s")
CONFIG = WindowConfig(commit_interval_ms=10, revoke_timeout_ms=0, drain_timeout_ms=0)


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker() as opened:
        await opened.ensure_topics(
            [TopicSpec(TOPICS.requests, 3), TopicSpec(WAITING, 1), TopicSpec(TOPICS.dead_letters, 1)]
        )
        yield opened


def due(clock: FakeClock, in_s: float) -> Headers:
    return ((Header.NOT_BEFORE_MS, b"%d" % round((clock() + in_s) * 1e3)), (Header.ATTEMPT, b"2"))


def a_worker(broker: EmbeddedBroker, clock: FakeClock) -> Worker:
    window = Window(CONFIG, broker.publish)
    return Worker(broker, RetryReturner(TOPICS, 30, clock), window, Subscription([WAITING], "retry"))


async def back(broker: EmbeddedBroker, count: int) -> list[Record]:
    """The records that have returned, once there are ``count`` of them."""
    reader = await broker.consume([TOPICS.requests])
    found: list[Record] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.poll(1_000, 100)
    await reader.close()
    return found


async def test_a_due_record_returns_unchanged_and_passes_those_that_are_not_due(
    broker: EmbeddedBroker, clock: FakeClock
) -> None:
    await broker.publish(Message(WAITING, b"later", None, due(clock, 30)))
    for key in (b"a", b"b", None):
        await broker.publish(Message(WAITING, b"now", key, due(clock, -1)))
    worker = a_worker(broker, clock)
    async with running(worker):
        found = await back(broker, 3)
        assert [(record.value, record.headers) for record in found] == [
            (b"now", ((Header.ATTEMPT, b"2"),))
        ] * 3
        assert {record.key for record in found} == {b"a", b"b", None}
        assert worker.window.running == 1, "the one that is not due"


async def test_a_waiting_record_survives_its_worker(broker: EmbeddedBroker, clock: FakeClock) -> None:
    await broker.publish(Message(WAITING, b"now", None, due(clock, -1)))
    await broker.publish(Message(WAITING, b"later", None, due(clock, 5)))
    first = asyncio.create_task((held := a_worker(broker, clock)).run())
    await until(lambda: held.window.running == 1)
    await back(broker, 1)
    first.cancel()
    await asyncio.wait([first])
    clock.advance(6)
    async with running(a_worker(broker, clock)):
        assert {record.value for record in await back(broker, 2)} == {b"now", b"later"}


async def test_stopping_does_not_wait_for_records(broker: EmbeddedBroker, clock: FakeClock) -> None:
    await broker.publish(Message(WAITING, b"later", None, due(clock, 30)))
    worker = a_worker(broker, clock)
    async with asyncio.timeout(5), running(worker):
        await until(lambda: worker.window.running == 1)


@pytest.mark.parametrize("value", [b"", b"soon", b"-5", b"\xff", b"9" * 400, None])
def test_a_record_without_a_due_time_is_due_now(value: bytes | None) -> None:
    headers = () if value is None else ((Header.NOT_BEFORE_MS, value),)
    outcome = RetryReturner(TOPICS, 30).handle(Record(WAITING, 0, 0, b"k", b"body", headers, 0))
    assert isinstance(outcome, Outcome)
    assert outcome.messages == (Message(TOPICS.requests, b"body", b"k"),)


async def test_no_record_waits_much_longer_than_its_tier(clock: FakeClock) -> None:
    """A wrong clock, or a foreign producer, may have put the time years ahead."""
    found = RetryReturner(TOPICS, 0.05, clock).handle(Record(WAITING, 0, 0, None, b"", due(clock, 1e9), 0))
    assert not isinstance(found, Outcome)
    async with asyncio.timeout(5):
        assert (await found).messages[0].topic == TOPICS.requests


def test_a_record_too_large_for_the_request_topic_is_a_dead_letter() -> None:
    record = Record(WAITING, 0, 0, b"k", b"body", ((Header.ORIGIN, b"first/0/1"),), 0)
    outcome = RetryReturner(TOPICS, 30).handle(record)
    assert isinstance(outcome, Outcome)
    assert outcome.if_too_large is not None
    (letter,) = outcome.if_too_large().messages
    assert (letter.topic, letter.value, letter.key) == (TOPICS.dead_letters, b"body", b"k")
    assert dict(letter.headers)[Header.ERROR_CODE] == b"too_large"


def wait_s(record: Record, now_s: float) -> float:
    """How long the returner of the 30 s tier holds the record back; 0 if it returns it at once."""
    found = RetryReturner(TOPICS, 30, lambda: now_s).handle(record)
    if isinstance(found, Outcome):
        return 0.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    with patch("asyncio.sleep", sleep), pytest.raises(StopIteration) as ended:
        found.send(None)
    assert isinstance(ended.value.value, Outcome)
    (seconds,) = slept
    assert seconds > 0, "what is due returns at once"
    return seconds


@given(st.integers(0, 10**15 - 1), st.integers(-100_000, 100_000))
def test_a_record_waits_until_it_is_due_and_no_longer_than_its_tier_with_jitter(
    now_ms: int, in_ms: int
) -> None:
    headers = ((Header.NOT_BEFORE_MS, b"%d" % min(now_ms + in_ms, 10**15 - 1)),)
    due_ms = min(now_ms + in_ms, 10**15 - 1)
    expected_s = min(max(due_ms - now_ms, 0) / 1e3, 30 * (1 + JITTER)) if due_ms > 0 else 0.0
    found_s = wait_s(Record(WAITING, 0, 0, None, b"", headers, 0), now_ms / 1e3)
    assert found_s == pytest.approx(expected_s, abs=1e-3)


def test_a_due_time_of_more_digits_than_a_time_has_does_not_count() -> None:
    waits = [
        wait_s(Record(WAITING, 0, 0, None, b"", ((Header.NOT_BEFORE_MS, b"9" * digits),), 0), 0.0)
        for digits in (15, 16)
    ]
    assert waits == [30 * (1 + JITTER), 0.0]


def test_a_record_without_a_body_returns_with_an_empty_one() -> None:
    outcome = RetryReturner(TOPICS, 30).handle(Record(WAITING, 0, 0, b"k", None, (), 0))
    assert isinstance(outcome, Outcome)
    assert outcome.messages == (Message(TOPICS.requests, b"", b"k"),)
