"""A request whose reply cannot be written is kept as a dead letter; only the own topics of the task end a worker."""

import json
from collections.abc import AsyncIterator

import pytest
from support.handler_rig import MINE, NOW_S, TOPICS, HandlerRig, a_handler_rig, only

from inferstream.pipeline.broker.base import Record
from inferstream.pipeline.errors import NotWritable
from inferstream.schemas.topics import Header

GONE = NotWritable(f"The topic {MINE!r} is gone: create it.")
WHERE = "inferstream.echo.requests/1/41"


@pytest.fixture
async def rig() -> AsyncIterator[HandlerRig]:
    async with a_handler_rig() as opened:
        yield opened


def asking(text: str, reply_topic: str, **more: bytes) -> Record:
    headers = (("else", b"\xff"), (Header.REPLY_TOPIC, reply_topic.encode()), *more.items())
    return Record(TOPICS.requests, 1, 41, b"key", json.dumps({"text": text}).encode(), headers, 0)


@pytest.mark.parametrize("text", ["text", ""], ids=["an answer", "a failure"])
async def test_a_reply_that_cannot_be_written_is_a_dead_letter_with_all_that_a_replay_needs(
    rig: HandlerRig, text: str
) -> None:
    record = asking(text, MINE)
    outcome = await rig.outcome(record)
    assert only(outcome).topic == MINE
    before = rig.metrics.failed_requests
    assert outcome.if_not_writable is not None
    letter = only(outcome.if_not_writable(GONE))
    assert (letter.topic, letter.value, letter.key) == (TOPICS.dead_letters, record.value, b"key")
    assert letter.headers[: len(record.headers)] == record.headers
    added = dict(letter.headers[len(record.headers) :])
    sentence = added.pop(Header.ERROR_MESSAGE).decode()
    assert added == {
        Header.ORIGIN: WHERE.encode(),
        Header.ERROR_CODE: b"reply_topic_not_allowed",
        Header.FAILED_AT_MS: b"%d" % round(NOW_S * 1e3),
        Header.WORKER: b"w",
    }
    assert sentence == f"The reply could not be written to {MINE!r}. {GONE} Then replay the request."
    assert rig.metrics.failed_requests == before + 1


async def test_a_topic_that_took_no_reply_is_asked_for_again_by_the_next_request(rig: HandlerRig) -> None:
    outcome = await rig.outcome(asking("text", MINE))
    await rig.outcome(asking("text", MINE))
    assert rig.asked_for == [MINE]
    assert outcome.if_not_writable is not None
    outcome.if_not_writable(GONE)
    await rig.outcome(asking("text", MINE))
    assert rig.asked_for == [MINE, MINE]


@pytest.mark.parametrize("text", ["text", ""], ids=["an answer", "a failure"])
async def test_the_own_reply_topic_of_the_task_ends_the_worker(rig: HandlerRig, text: str) -> None:
    outcome = await rig.outcome(asking(text, TOPICS.replies))
    assert outcome.if_not_writable is None
    assert not outcome.mends(GONE)
