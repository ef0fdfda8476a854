"""What failed for a passing reason is tried again, within bounds; what it carries cannot end the worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from engine.rig import Rig, a_rig

from inferstream.pipeline.broker.base import Message, Record
from inferstream.pipeline.config import LimitConfig, RetryConfig
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.delivery.replying import ReplyTopics
from inferstream.pipeline.delivery.window import Outcome
from inferstream.pipeline.telemetry import Metrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Result
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("echo")
NOW_MS = 1_700_000_000_000
AT_ONCE = RetryConfig(tiers_s=[0, 30], max_attempts=3)
TOO_LITTLE = 2  # padded tokens that the device has memory for


def a_record(headers: Mapping[str, bytes] | None = None, key: bytes | None = None) -> Record:
    value = json.dumps({"id": "t1", "text": "text"}).encode()
    return Record(TOPICS.requests, 1, 41, key, value, tuple((headers or {}).items()), NOW_MS)


async def partitions(_: str) -> int:
    return 4


@asynccontextmanager
async def a_handler(retries: RetryConfig = AT_ONCE) -> AsyncIterator[tuple[Handler, Rig]]:
    async with a_rig() as rig:
        limits = LimitConfig()
        yield (
            Handler(
                rig.engine,
                TOPICS,
                limits,
                ReplyTopics(TOPICS, limits, partitions),
                Metrics(),
                retries=retries,
                clock=rig.clock,
                wall_clock=lambda: NOW_MS / 1e3,
            ),
            rig,
        )


async def outcome_of(handler: Handler, record: Record) -> Outcome:
    found = handler.handle(record)
    return found if isinstance(found, Outcome) else await found


def only(outcome: Outcome) -> Message:
    (message,) = outcome.messages
    return message


async def failing_outcome(record: Record, retries: RetryConfig = AT_ONCE) -> Outcome:
    async with a_handler(retries) as (handler, rig):
        rig.session.most_padded_tokens = TOO_LITTLE
        return await outcome_of(handler, record)


async def test_a_passing_failure_waits_in_a_retry_topic() -> None:
    record = a_record({"else": b"1"})
    message = only(await failing_outcome(record))
    assert (message.topic, message.value, message.key) == (TOPICS.retry("0s"), record.value, None)
    headers = dict(message.headers)
    assert (headers[Header.ATTEMPT], headers["else"]) == (b"2", b"1")
    assert headers[Header.ORIGIN] == b"inferstream.echo.requests/1/41"
    assert int(headers[Header.NOT_BEFORE_MS]) >= NOW_MS


async def test_the_last_attempt_is_answered_and_kept() -> None:
    outcome = await failing_outcome(a_record({Header.ATTEMPT: b"3"}))
    reply = decode_reply(only(outcome).value)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.id, reply.retryable) == ("device_out_of_memory", "t1", True)
    assert outcome.then is not None
    assert only(outcome.then).topic == TOPICS.dead_letters


BROKEN = [
    b"",
    b"no",
    b"[",
    b'[[1,"\xff",1,"w"]]',
    b'[["1",2]]',
    b"[" * 100_000,
    b"7",
    b"[[" + b"9" * 500 + b"]]",
]


@pytest.mark.parametrize("history", BROKEN)
async def test_a_history_that_somebody_broke_begins_anew(history: bytes) -> None:
    message = only(await failing_outcome(a_record({Header.HISTORY: history})))
    assert message.topic == TOPICS.retry("0s")
    kept = json.loads(dict(message.headers)[Header.HISTORY])
    assert [attempt[:2] for attempt in kept] == [[1, "device_out_of_memory"]]


@pytest.mark.parametrize("attempt", [b"", b"-1", b"\xff", b"9" * 400, "\u0663".encode()])
async def test_an_attempt_that_is_no_number_is_the_first(attempt: bytes) -> None:
    assert (
        dict(only(await failing_outcome(a_record({Header.ATTEMPT: attempt}))).headers)[Header.ATTEMPT] == b"2"
    )


async def test_a_retry_that_the_broker_finds_too_large_is_answered_instead() -> None:
    """The headers of a retry come on top of a record that may have been as large as records may be."""
    outcome = await failing_outcome(a_record())
    assert outcome.if_too_large is not None
    instead = outcome.if_too_large()
    reply = decode_reply(only(instead).value)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.id) == ("device_out_of_memory", "t1")
    assert instead.then is not None


async def test_where_order_matters_it_is_tried_again_in_its_place() -> None:
    async with a_handler() as (handler, rig):
        rig.session.most_padded_tokens = TOO_LITTLE
        answering = asyncio.create_task(outcome_of(handler, a_record(key=b"conversation")))
        await rig.begun(1)
        rig.session.most_padded_tokens = 100
        reply = decode_reply(only(await answering).value)
        assert isinstance(reply, Result)


async def test_what_is_refused_when_it_is_tried_again_is_answered() -> None:
    async with a_handler() as (handler, rig):
        rig.session.most_padded_tokens = TOO_LITTLE
        poisoned = iter([False, True])
        rig.device.is_poison = lambda _: next(poisoned)  # type: ignore[method-assign]
        reply = decode_reply(only(await outcome_of(handler, a_record(key=b"conversation"))).value)
        assert isinstance(reply, Failure)
        assert reply.code == "poison"


async def test_retries_stay_within_their_budget() -> None:
    async with a_handler(RetryConfig(tiers_s=[0], budget_share=0.1, budget_burst=2)) as (handler, rig):
        rig.session.most_padded_tokens = TOO_LITTLE
        outcomes = [await outcome_of(handler, a_record()) for _ in range(12)]
    again = [only(outcome).topic == TOPICS.retry("0s") for outcome in outcomes]
    assert again[:2] == [True, True]
    assert again.count(True) == 3
