"""Whatever a record holds, it ends in exactly one message: an answer, a failure that says what to do, a dead letter."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engine_rig import LARGE, POISON, SMALL
from support.handler_rig import (
    LIMITS,
    MINE,
    NOW_S,
    THERE,
    TOPICS,
    HandlerRig,
    a_handler_rig,
    handled,
    handler_over,
    only,
    outcome_of,
)

from inferstream.pipeline.broker.base import Record, Unread
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import LimitConfig, RetryConfig
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.reply_topics import MAX_MISSING, MISSING_S, ReplyTopics
from inferstream.pipeline.delivery.request_reader import RequestReader
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.errors import ReplyTopicNotAllowed
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Failure, Result
from inferstream.schemas.topics import Header

NOW_MS = round(NOW_S * 1e3)
WHERE = "inferstream.echo.requests/1/41"


def a_record(
    value: bytes | None, headers: Mapping[str, bytes] | None = None, key: bytes | None = b"key"
) -> Record:
    return Record(TOPICS.requests, 1, 41, key, value, tuple((headers or {}).items()), NOW_MS)


def asking(text: str = "text", **more: Any) -> bytes:
    return json.dumps({"text": text} | more).encode()


async def reply_to(
    rig: HandlerRig, value: bytes | None, headers: Mapping[str, bytes] | None = None
) -> Result | Failure:
    """The reply in the default reply topic."""
    message = await rig.message(a_record(value, headers))
    assert message.topic == TOPICS.replies
    found = decode_reply(message.value)
    assert not isinstance(found, Chunk)
    return found


@pytest.fixture
async def rig() -> AsyncIterator[HandlerRig]:
    async with a_handler_rig() as opened:
        yield opened


BAD: dict[str, tuple[bytes | None, dict[str, bytes], str, str]] = {
    "no body": (None, {}, "empty_body", "body is empty"),
    "empty body": (b"", {}, "empty_body", "body is empty"),
    "not UTF-8": (b'{"text":"\xff"}', {}, "not_utf8", "encode the JSON as UTF-8"),
    "not JSON": (b"I was charged twice", {}, "not_json", "not JSON"),
    "nested too deeply": (b'{"a":' + b"[" * 9_000, {}, "not_json", "The body is not JSON ("),
    "not an object": (b'["text"]', {}, "wrong_type", "JSON object"),
    "a number for a text": (b'{"text":7}', {}, "wrong_type", "`text` must be a string"),
    "options not an object": (b'{"text":"a","options":1}', {}, "wrong_type", "`options` must be an object"),
    "no text": (b'{"id":"t1"}', {}, "missing_text", "`text` is missing"),
    "empty text": (asking(""), {}, "blank_text", "`text` is blank"),
    "only spaces": (asking(" \n\t\u3000"), {}, "blank_text", "`text` is blank"),
    "too large": (asking("x" * 10_000), {}, "too_large", "10012 bytes, more than the 10000 allowed"),
    "unknown task": (asking(task="translate"), {}, "unknown_task", "serves 'echo', not 'translate'"),
    "model not UTF-8": (asking(), {Header.MODEL: b"\xff"}, "bad_header", "'model'"),
    "unknown option": (asking(options={"volume": 1}), {}, "unknown_option", "volume"),
    "deadline past": (asking(), {Header.DEADLINE_MS: b"1"}, "deadline_exceeded", "a later one"),
    "deadline just past": (
        asking(),
        {Header.DEADLINE_MS: b"%d" % NOW_MS},
        "deadline_exceeded",
        "a later one",
    ),
    "deadline negative": (asking(), {Header.DEADLINE_MS: b"-1"}, "deadline_exceeded", "a later one"),
    "deadline a word": (asking(), {Header.DEADLINE_MS: b"soon"}, "bad_header", "Unix time in milliseconds"),
    "deadline in seconds": (
        asking(),
        {Header.DEADLINE_MS: b"%d" % (NOW_S + 5)},
        "bad_header",
        "looks like seconds",
    ),
    "deadline in microseconds": (
        asking(),
        {Header.DEADLINE_MS: b"%d" % ((NOW_S + 5) * 1e6)},
        "bad_header",
        "looks like microseconds: it must be Unix time in milliseconds",
    ),
    "deadline in nanoseconds": (
        asking(),
        {Header.DEADLINE_MS: b"%d" % ((NOW_S - 5) * 1e9)},
        "bad_header",
        "looks like nanoseconds",
    ),
    "deadline a minute ago": (
        asking(),
        {Header.DEADLINE_MS: b"%d" % (NOW_MS - 60_000)},
        "deadline_exceeded",
        "had passed 60.0 s before the request was read, by the worker's clock",
    ),
    "deadline a fraction": (
        asking(),
        {Header.DEADLINE_MS: b"1.5"},
        "bad_header",
        "Unix time in milliseconds",
    ),
    "deadline too long": (
        asking(),
        {Header.DEADLINE_MS: b"9" * 400},
        "bad_header",
        "Unix time in milliseconds",
    ),
    "deadline far too long": (
        asking(),
        {Header.DEADLINE_MS: b"9" * 9_000},
        "bad_header",
        "Unix time in milli",
    ),
    "priority unknown": (asking(), {Header.PRIORITY: b"urgent"}, "bad_header", "one of high, normal, low"),
    "priority in capitals": (asking(), {Header.PRIORITY: b"HIGH"}, "bad_header", "one of high, normal, low"),
    "tenant not UTF-8": (asking(), {Header.TENANT: b"\xfe"}, "bad_header", "'tenant'"),
    "a long id": (asking(id="i" * 2_000), {}, "too_large", "`id`"),
    "poison": (asking(POISON), {}, "device_error", "cannot run this input"),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_gets_a_code_and_a_sentence(rig: HandlerRig, name: str) -> None:
    value, headers, code, words = BAD[name]
    reply = await reply_to(rig, value, headers)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.task, reply.retryable) == (code, "echo", False)
    assert words in reply.message
    assert reply.message.endswith((".", "}."))
    assert len(reply.message) < 400
    assert rig.metrics.failed_requests == 1
    assert code == "device_error" or rig.engine_rig.session.runs == [], "it never reached the device"


async def test_a_model_that_this_worker_lacks_is_told_as_what_it_is(rig: HandlerRig) -> None:
    reply = await reply_to(rig, asking(), {Header.MODEL: b"gpt"})
    assert isinstance(reply, Failure)
    assert (reply.code, reply.retryable) == ("unknown_model", True)
    assert "no model 'gpt' here" in reply.message
    assert "another worker of its group" in reply.message
    assert rig.engine_rig.session.runs == [], "it never reached the device"


async def test_a_request_for_another_model_goes_to_the_retry_topic_before_it_fails(rig: HandlerRig) -> None:
    handler = handler_over(rig.engine_rig.engine, retries=RetryConfig([1, 30]))
    outcome = await outcome_of(handler, a_record(asking(), {Header.MODEL: b"gpt"}, key=None))
    assert only(outcome).topic == TOPICS.retry("1s")
    assert (only(outcome).value, dict(only(outcome).headers)[Header.MODEL]) == (asking(), b"gpt")


@pytest.mark.parametrize(
    "name",
    [
        Header.MODEL,
        Header.TENANT,
        Header.PRIORITY,
        Header.DEADLINE_MS,
        Header.ORDER,
        Header.ORIGIN,
        Header.REPLY_TOPIC,
        Header.ATTEMPT,
        Header.TRACEPARENT,
    ],
)
async def test_a_header_without_a_value_is_as_if_absent(rig: HandlerRig, name: str) -> None:
    """Kafka's null arrives as b""; producers that leave a field empty send b"" itself."""
    plain = await reply_to(rig, asking())
    reply = await reply_to(rig, asking(), {name: b""})
    assert isinstance(reply, Result)
    assert isinstance(plain, Result)
    assert (reply.id, reply.output) == (plain.id, plain.output)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"id":"t1"}', "t1"),
        (b'{"id":7,"text":7}', "7"),
        (b'{"id":"t1","text":"cut o', "t1"),
        (b"nothing", WHERE),
        (b'{"text":""}', WHERE),
        (asking(id="t1", task="translate"), "t1"),
        (asking(id=""), ""),
        (asking(id="i" * 2_000), WHERE),
    ],
)
async def test_a_failure_has_the_id_of_its_request(rig: HandlerRig, value: bytes, expected: str) -> None:
    assert (await reply_to(rig, value)).id == expected


async def test_an_answer_is_addressed(rig: HandlerRig) -> None:
    trace = (Header.TRACEPARENT, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    record = a_record(asking(id="t1"), {"else": b"1", trace[0]: trace[1]})
    message = await rig.message(record)
    assert (message.topic, message.key, message.headers) == (TOPICS.replies, b"key", (trace,))
    reply = decode_reply(message.value)
    assert isinstance(reply, Result)
    assert (reply.id, reply.task, reply.model, reply.version) == ("t1", "echo", SMALL, "echo-small-1")
    assert (bytes(reply.output), reply.cache) == (b'{"echo": "text"}', "miss")
    assert reply.batch is not None
    assert (reply.batch.rows, reply.batch.tokens, reply.batch.padded_tokens) == (1, 4, 4)
    assert (await rig.message(a_record(asking(id="t2"), key=None))).key == b"t2"


async def test_a_request_without_an_id_is_named_by_its_origin(rig: HandlerRig) -> None:
    first, again = [await rig.message(a_record(asking(), key=None)) for _ in range(2)]
    assert decode_reply(first.value).id == decode_reply(again.value).id == WHERE
    assert first.key == WHERE.encode()


async def test_a_cached_answer_is_known_at_once(rig: HandlerRig) -> None:
    await reply_to(rig, asking())
    found = handled(rig.handler, a_record(asking()))
    assert isinstance(found, Outcome)
    reply = decode_reply(found.messages[0].value)
    assert isinstance(reply, Result)
    assert reply.cache == "memory"
    assert (rig.metrics.by_status["miss"], rig.metrics.by_status["memory"]) == (1, 1)


async def test_headers_choose_model_tenant_and_priority(rig: HandlerRig) -> None:
    large = await reply_to(rig, asking(), {Header.MODEL: LARGE.encode(), Header.PRIORITY: b"high"})
    assert isinstance(large, Result)
    assert (large.model, large.cache) == (LARGE, "miss")
    statuses = []
    for tenant in (b"", b"a", b"b", b"a"):
        reply = await reply_to(rig, asking(), {Header.TENANT: tenant})
        assert isinstance(reply, Result)
        statuses.append(reply.cache)
    assert statuses == ["miss", "miss", "miss", "memory"]


async def test_the_last_value_of_a_repeated_header_counts(rig: HandlerRig) -> None:
    headers = ((Header.MODEL, b"gpt"), (Header.MODEL, LARGE.encode()))
    message = await rig.message(a_record(asking())._replace(headers=headers))
    reply = decode_reply(message.value)
    assert isinstance(reply, Result)
    assert reply.model == LARGE


@pytest.mark.parametrize("ahead_ms", [60_000, 10**15, 10**30])
async def test_a_request_before_its_deadline_is_answered(rig: HandlerRig, ahead_ms: int) -> None:
    assert isinstance(
        await reply_to(rig, asking(), {Header.DEADLINE_MS: b"%d" % (NOW_MS + ahead_ms)}), Result
    )


async def test_a_deadline_that_passes_during_the_run_is_a_failure(rig: HandlerRig) -> None:
    rig.engine_rig.session.stall()
    reply = await reply_to(rig, asking(), {Header.DEADLINE_MS: b"%d" % (NOW_MS + 50)})
    assert isinstance(reply, Failure)
    assert reply.code == "deadline_exceeded"


async def test_a_reply_goes_to_the_topic_that_its_request_names(rig: HandlerRig) -> None:
    for value in (asking(), b"bad"):
        message = await rig.message(a_record(value, {Header.REPLY_TOPIC: MINE.encode()}))
        assert message.topic == MINE
        assert message.partition is None or message.partition < THERE[MINE]
    assert rig.asked_for == [MINE], "the broker is asked once"


async def test_replies_keep_to_the_partition_of_their_requests(rig: HandlerRig) -> None:
    for partition in range(8):
        record = a_record(asking(), {Header.REPLY_TOPIC: MINE.encode()})._replace(partition=partition)
        assert (await rig.message(record)).partition == partition % THERE[MINE]


async def test_the_broker_is_asked_once_for_many_first_requests(rig: HandlerRig) -> None:
    records = [a_record(asking(f"text {n}"), {Header.REPLY_TOPIC: MINE.encode()}) for n in range(5)]
    messages = await asyncio.gather(*map(rig.message, records))
    assert {message.topic for message in messages} == {MINE}
    assert rig.asked_for == [MINE]


async def test_higher_priorities_run_first() -> None:
    async with a_handler_rig(lanes=1, limits=Limits(4_096, 1)) as rig:
        rig.engine_rig.session.stall()
        held = asyncio.create_task(reply_to(rig, asking("held")))
        await rig.engine_rig.begun(1)
        later = [
            asyncio.create_task(reply_to(rig, asking(text), {Header.PRIORITY: priority}))
            for text, priority in (("lower", b"low"), ("normal", b"normal"), ("highest", b"high"))
        ]
        while len(rig.engine_rig.device.batcher) < 3:  # noqa: ASYNC110 - a thread of the engine fills it
            await asyncio.sleep(0.001)
        rig.engine_rig.session.release()
        await asyncio.gather(held, *later)
        assert rig.engine_rig.session.shapes == [(1, 4), (1, 7), (1, 6), (1, 5)]


BAD_TOPICS = {
    "not allowed": b"inferstream.echo.requests",
    "another task's": b"inferstream.triage.replies",
    "looks allowed": b"inferstream_echo_replies",
    "not UTF-8": TOPICS.replies.encode() + b".\xff",
    "missing": TOPICS.replies.encode() + b".missing",
    "no topic name": TOPICS.replies.encode() + b".a b\n",
    "far too long": TOPICS.replies.encode() + b"." + b"x" * 40_000,
}


@pytest.mark.parametrize("name", BAD_TOPICS)
@pytest.mark.parametrize("value", [asking(), b"bad", None])
async def test_a_request_with_a_reply_topic_that_must_not_be_used_is_a_dead_letter(
    rig: HandlerRig, name: str, value: bytes | None
) -> None:
    record = a_record(value, {"else": b"\xff", Header.REPLY_TOPIC: BAD_TOPICS[name]})
    message = await rig.message(record)
    assert message.topic == TOPICS.dead_letters
    assert (message.value, message.key) == (value or b"", b"key")
    assert message.headers[:2] == record.headers
    added = dict(message.headers[2:])
    assert added[Header.ERROR_CODE] == b"reply_topic_not_allowed"
    assert added[Header.ORIGIN] == WHERE.encode()
    assert added[Header.FAILED_AT_MS] == b"%d" % NOW_MS
    assert added[Header.ERROR_MESSAGE].endswith(b".")
    assert len(added[Header.ERROR_MESSAGE]) < 600
    assert rig.metrics.failed_requests == 1
    assert rig.engine_rig.session.runs == []
    assert all(len(asked) < 250 and asked.isascii() for asked in rig.asked_for), (
        "nothing odd is asked of the broker"
    )


@pytest.mark.parametrize("pattern", ["{", "{}.replies", "{tenant}.x", "[", "%s"])
async def test_only_prefix_and_task_are_replaced_in_a_pattern(pattern: str) -> None:
    async def partitions(_: str) -> int:
        return 1

    allowed = ReplyTopics(TOPICS, LimitConfig(reply_topics=[pattern, "x.{task}.*"]), partitions)
    await allowed.check("x.echo.mine")
    with pytest.raises(ReplyTopicNotAllowed, match="not on the allow list"):
        await allowed.check("x.triage.mine")


class FakeTopics:
    """Topics with their numbers of partitions, and the topics that were asked for."""

    def __init__(self) -> None:
        self.topics: dict[str, int] = {}
        self.asked: list[str] = []

    async def partitions(self, topic: str) -> int | None:
        self.asked.append(topic)
        await asyncio.sleep(0)
        return self.topics.get(topic)


async def refused(reply_topics: ReplyTopics, *names: str) -> int:
    """How many of the checks, all made at once, were refused."""
    found = await asyncio.gather(*map(reply_topics.check, names), return_exceptions=True)
    assert all(error is None or "does not exist: create it" in str(error) for error in found)
    return sum(error is not None for error in found)


async def test_a_missing_reply_topic_is_asked_for_again_after_a_while(clock: FakeClock) -> None:
    broker = FakeTopics()
    reply_topics = ReplyTopics(TOPICS, LIMITS, broker.partitions, clock)
    for asked in (1, 2):
        assert await refused(reply_topics, *[MINE] * 100) == 100
        clock.advance(MISSING_S * 0.99)
        assert await refused(reply_topics, MINE) == 1
        assert broker.asked == [MINE] * asked
        clock.advance(MISSING_S)
    broker.topics[MINE] = 3
    assert await refused(reply_topics, MINE, MINE) == 0
    reader = RequestReader(TOPICS, LIMITS.max_request_bytes, clock, clock)
    assert reply_topics.assign(reader.arrival(a_record(asking(), {Header.REPLY_TOPIC: MINE.encode()})))
    assert broker.asked == [MINE] * 3


async def test_a_missing_reply_topic_is_asked_for_again_as_soon_as_its_time_is_over(clock: FakeClock) -> None:
    broker = FakeTopics()
    reply_topics = ReplyTopics(TOPICS, LIMITS, broker.partitions, clock)
    for asked in range(1, 4):
        assert await refused(reply_topics, MINE) == 1
        assert broker.asked == [MINE] * asked
        clock.advance(MISSING_S)


async def test_a_bounded_number_of_missing_topics_is_remembered(clock: FakeClock) -> None:
    broker = FakeTopics()
    reply_topics = ReplyTopics(TOPICS, LIMITS, broker.partitions, clock)
    names = [f"{TOPICS.replies}.{number}" for number in range(MAX_MISSING)]
    await refused(reply_topics, *names)
    clock.advance(MISSING_S)
    await refused(reply_topics, names[0], f"{TOPICS.replies}.another")
    broker.asked.clear()
    assert await refused(reply_topics, names[0], names[1]) == 2
    assert broker.asked == names[1:2], "the topic that was asked for longest ago is forgotten first"


def locks() -> int:
    """The locks in this process."""
    gc.collect()
    return sum(isinstance(one, asyncio.Lock) for one in gc.get_objects())


async def test_a_question_that_has_ended_leaves_nothing_behind(clock: FakeClock) -> None:
    """Requests choose the names: what each of them left would never be bounded."""
    broker = FakeTopics()
    reply_topics = ReplyTopics(TOPICS, LIMITS, broker.partitions, clock)
    there = [f"{TOPICS.replies}.there.{number}" for number in range(50)]
    missing = [f"{TOPICS.replies}.missing.{number}" for number in range(50)]
    broker.topics = dict.fromkeys(there, 1)
    before = locks()
    assert await refused(reply_topics, *there, *missing, *there, *missing) == 2 * len(missing)
    await asyncio.sleep(0)  # in this turn the loop still holds the refusals, with their frames
    assert locks() == before


async def test_beyond_the_bound_each_new_missing_topic_displaces_the_oldest(clock: FakeClock) -> None:
    broker = FakeTopics()
    reply_topics = ReplyTopics(TOPICS, LIMITS, broker.partitions, clock)
    names = [f"{TOPICS.replies}.{number}" for number in range(MAX_MISSING + 10)]
    await refused(reply_topics, *names)
    broker.asked.clear()
    assert await refused(reply_topics, *names[10:]) == MAX_MISSING
    assert broker.asked == []
    assert await refused(reply_topics, *names[:10]) == 10
    assert broker.asked == names[:10]


async def test_a_dead_letter_keeps_the_origin_of_the_first_delivery(rig: HandlerRig) -> None:
    record = a_record(asking(), {Header.ORIGIN: b"first/0/1", Header.REPLY_TOPIC: b"elsewhere"})
    message = await rig.message(record)
    assert [value for name, value in message.headers if name == Header.ORIGIN] == [b"first/0/1"]


async def test_a_dead_letter_that_is_too_large_says_where_its_body_is(rig: HandlerRig) -> None:
    outcome = await rig.outcome(a_record(asking("x" * 5_000), {Header.REPLY_TOPIC: b"elsewhere"}))
    assert outcome.if_too_large is not None
    (message,) = outcome.if_too_large().messages
    assert (message.topic, message.value, message.key) == (TOPICS.dead_letters, b"", None)
    headers = dict(message.headers)
    assert headers[Header.ORIGIN] == WHERE.encode()
    assert headers[Header.ERROR_CODE] == b"reply_topic_not_allowed"
    assert sum(map(len, headers.values())) < 1_000


async def test_a_batch_that_cannot_be_read_is_a_dead_letter(rig: HandlerRig) -> None:
    record = a_record(None, key=None)._replace(unread=Unread(17, 28_000, "it is a bomb"))
    message = await rig.message(record)
    assert (message.topic, dict(message.headers)[Header.LAST_OFFSET]) == (TOPICS.dead_letters, b"41")
    assert rig.metrics.failed_requests == 1


async def test_a_reply_over_our_own_limit_is_a_failure(rig: HandlerRig) -> None:
    value = '{"text": "%s"}' % ("\u00e9" * 4_500)  # six bytes each in the output
    reply = await reply_to(rig, value.encode())
    assert isinstance(reply, Failure)
    assert (reply.code, reply.id) == ("reply_too_large", WHERE)
    assert "max_reply_bytes" in reply.message


async def test_a_reply_that_the_broker_refuses_is_a_failure_that_always_fits(rig: HandlerRig) -> None:
    outcome = await rig.outcome(
        a_record(asking(id="t1"), {Header.TRACEPARENT: b"x" * 9_000}, key=b"k" * 9_000)
    )
    assert outcome.if_too_large is not None
    second = outcome.if_too_large()
    reply = decode_reply(second.messages[0].value)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.id) == ("reply_too_large", "t1")
    assert second.messages[0].key == b"k" * 9_000
    assert second.if_too_large is not None, "a key or a header may be what is too large"
    (last,) = second.if_too_large().messages
    assert decode_reply(last.value).id == "t1"
    assert (last.key, last.headers) == (b"t1", ())
    assert len(last.value) < 1_000


async def test_a_failure_repeats_little_of_what_was_sent(rig: HandlerRig) -> None:
    for value, headers in (
        (asking(), {Header.MODEL: b"m" * 50_000}),
        (asking(task="t" * 5_000), {}),
        (asking(options={"o" * 5_000: 1}), {}),
        (asking(), {Header.PRIORITY: b"p" * 50_000}),
    ):
        reply = await reply_to(rig, value, headers)
        assert isinstance(reply, Failure)
        assert len(reply.message) < 600


async def test_a_defect_is_an_internal_failure_and_is_logged(
    rig: HandlerRig, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> Any:
        raise LookupError("a defect")

    rig.engine_rig.tasks[SMALL].options = broken  # type: ignore[method-assign]
    reply = await reply_to(rig, asking(options={"shout": True}, id="t1"))
    assert isinstance(reply, Failure)
    assert (reply.code, reply.id) == ("internal", "t1")
    assert "LookupError" in reply.message
    assert "t1" in caplog.text
    assert isinstance(await reply_to(rig, asking()), Result), "others go on"


names = st.sampled_from([getattr(Header, name) for name in vars(Header) if name.isupper()]) | st.text(
    max_size=5
)
values = (
    st.binary(max_size=12)
    | st.sampled_from([MINE.encode(), TOPICS.replies.encode(), b"high", SMALL.encode(), b"elsewhere"])
    | st.integers().map(lambda number: b"%d" % number)
)
any_headers = st.lists(st.tuples(names, values), max_size=6).map(tuple)
bodies = (
    st.none()
    | st.binary(max_size=40)
    | st.dictionaries(
        st.sampled_from(["text", "id", "task", "options", "stream"]),
        st.none()
        | st.booleans()
        | st.text(max_size=10)
        | st.integers()
        | st.dictionaries(st.text(max_size=5), st.booleans()),
    ).map(lambda body: json.dumps(body).encode())
    | st.text(min_size=1, max_size=10).map(asking)
)


def test_any_record_ends_in_exactly_one_message() -> None:
    with asyncio.Runner() as runner:
        opened = a_handler_rig()
        rig = runner.run(opened.__aenter__())

        @settings(max_examples=300)
        @given(bodies, any_headers, st.none() | st.binary(max_size=3))
        def check(value: bytes | None, headers: tuple[tuple[str, bytes], ...], key: bytes | None) -> None:
            record = Record(TOPICS.requests, 0, 0, key, value, headers, 0)
            message = runner.run(rig.message(record))
            if message.topic == TOPICS.dead_letters:
                assert (message.value, message.key) == (value or b"", key)
                assert message.headers[: len(headers)] == headers
            else:
                assert message.topic in THERE
                reply = decode_reply(message.value)
                assert not isinstance(reply, Failure) or reply.code != "internal"

        check()
        runner.run(opened.__aexit__(None, None, None))
