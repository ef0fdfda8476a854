"""A transient failure is retried, within bounds; what a record carries cannot end the worker."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import pytest
from support.engine_rig import EngineRig, an_engine_rig
from support.handler_rig import NOW_S, TOPICS, handler_over, only, outcome_of

from inferstream.pipeline.broker.base import Message, Record, TopicPartition
from inferstream.pipeline.config import BreakerConfig, RetryConfig, WindowConfig
from inferstream.pipeline.delivery.arrival import Arrival, header_map
from inferstream.pipeline.delivery.breaker import Breaker
from inferstream.pipeline.delivery.failures import FailurePolicy, WorkerStamp
from inferstream.pipeline.delivery.handler import Handler
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.replies import ReplyBuilder
from inferstream.pipeline.delivery.retries import MAX_HISTORY
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.errors import (
    DeadlineExceeded,
    DeviceError,
    DeviceUnavailable,
    Overloaded,
    Poison,
    ReplyTooLarge,
)
from inferstream.pipeline.runtime.model import Row
from inferstream.pipeline.tasks.base import Ask
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Result
from inferstream.schemas.topics import ANY_ORDER, Header

NOW_MS = round(NOW_S * 1e3)
AT_ONCE = RetryConfig(tiers_s=[0, 30], max_attempts=3)
NOTHING = Outcome(())
TOO_LITTLE = 2  # padded tokens that the device has memory for
WHERE = "inferstream.echo.requests/1/41"


def a_record(headers: Mapping[str, bytes] | None = None, key: bytes | None = None) -> Record:
    value = json.dumps({"id": "t1", "text": "text"}).encode()
    return Record(TOPICS.requests, 1, 41, key, value, tuple((headers or {}).items()), NOW_MS)


@asynccontextmanager
async def a_handler(
    retries: RetryConfig = AT_ONCE, breaker: Breaker | None = None
) -> AsyncIterator[tuple[Handler, EngineRig]]:
    """A handler whose reply topic was used before, and its engine."""
    async with an_engine_rig() as rig:
        handler = handler_over(rig.engine, retries=retries, breaker=breaker)
        await outcome_of(handler, a_record()._replace(value=b""))
        yield handler, rig


async def failing_outcome(record: Record, retries: RetryConfig = AT_ONCE) -> Outcome:
    async with a_handler(retries) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        return await outcome_of(handler, record)


async def test_a_transient_failure_goes_to_a_retry_topic() -> None:
    record = a_record({"else": b"1"})
    message = only(await failing_outcome(record))
    assert (message.topic, message.value, message.key) == (TOPICS.retry("0s"), record.value, None)
    headers = dict(message.headers)
    assert (headers[Header.ATTEMPT], headers["else"]) == (b"2", b"1")
    assert headers[Header.ORIGIN] == WHERE.encode()
    assert int(headers[Header.NOT_BEFORE_MS]) >= NOW_MS


async def test_after_the_last_attempt_come_a_failure_and_a_dead_letter() -> None:
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
async def test_a_broken_history_is_replaced(history: bytes) -> None:
    message = only(await failing_outcome(a_record({Header.HISTORY: history})))
    assert message.topic == TOPICS.retry("0s")
    kept = json.loads(dict(message.headers)[Header.HISTORY])
    assert [attempt[:2] for attempt in kept] == [[1, "device_out_of_memory"]]


@pytest.mark.parametrize("attempt", [b"", b"-1", b"\xff", b"9" * 400, "\u0663".encode()])
async def test_an_attempt_that_is_not_a_number_is_the_first(attempt: bytes) -> None:
    assert (
        dict(only(await failing_outcome(a_record({Header.ATTEMPT: attempt}))).headers)[Header.ATTEMPT] == b"2"
    )


@pytest.mark.parametrize("refused", [0, 1], ids=["all fit", "one of each"])
@pytest.mark.parametrize("attempt", [b"1", b"3"], ids=["retried", "ended"])
async def test_whatever_the_broker_finds_too_large_a_failure_and_a_dead_letter_remain(
    attempt: bytes, refused: int
) -> None:
    """Through the window: the broker refuses the first messages of each topic for their size."""
    sizes: Counter[str] = Counter()
    published: list[str] = []

    def publish(message: Message) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        allowed = {TOPICS.retry("0s"): 3, TOPICS.replies: refused, TOPICS.dead_letters: refused}
        sizes[message.topic] += 1
        if sizes[message.topic] <= allowed[message.topic]:
            future.set_exception(ReplyTooLarge("too large"))
        else:
            published.append(message.topic)
            future.set_result(None)
        return future

    record = a_record({Header.ATTEMPT: attempt})
    window = Window(WindowConfig(), publish)
    slot = window.admit(record)
    window.complete(slot, await failing_outcome(record))
    assert published == [TOPICS.replies, TOPICS.dead_letters]
    assert window.positions() == {TopicPartition(TOPICS.requests, 1): 42}


async def test_a_retry_that_is_too_large_for_the_broker_becomes_a_failure() -> None:
    """The headers of a retry come on top of a record that may have been as large as records may be."""
    outcome = await failing_outcome(a_record())
    assert outcome.if_too_large is not None
    instead = outcome.if_too_large()
    reply = decode_reply(only(instead).value)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.id) == ("device_out_of_memory", "t1")
    assert instead.then is not None


@asynccontextmanager
async def calls_in_delivery() -> AsyncIterator[list[str]]:
    """The functions of the package `delivery` that this thread enters, in order; a coroutine counts once."""
    frames: dict[FrameType, str] = {}

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and "/pipeline/delivery/" in frame.f_code.co_filename:
            frames.setdefault(frame, frame.f_code.co_qualname)

    names: list[str] = []
    sys.setprofile(profile)
    try:
        yield names
    finally:
        sys.setprofile(None)
        names += frames.values()


async def test_the_path_of_a_failing_request_is_short_and_its_headers_are_parsed_once() -> None:
    async with a_handler() as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        for headers in ({"else": b"1"}, {Header.ATTEMPT: b"3"}):
            async with calls_in_delivery() as names:
                outcome = await outcome_of(handler, a_record(headers))
            assert outcome.messages
            assert [name for name in names if name.startswith("Handler.")] == [
                "Handler.handle",
                "Handler._answer",
                "Handler._run_unless_cancelled",
                "Handler._run",
            ]
            assert names.count("header_map") == 1


async def test_a_request_whose_order_matters_is_retried_in_its_place() -> None:
    async with a_handler() as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        answering = asyncio.create_task(outcome_of(handler, a_record(key=b"conversation")))
        await rig.begun(1)
        rig.session.max_padded_tokens = 100
        reply = decode_reply(only(await answering).value)
        assert isinstance(reply, Result)


async def test_a_retry_in_place_is_not_made_before_the_shortest_delay() -> None:
    loop = asyncio.get_running_loop()
    async with a_handler(RetryConfig(tiers_s=[30, 1], max_attempts=3)) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        began = loop.time()
        answering = asyncio.create_task(outcome_of(handler, a_record(key=b"conversation")))
        await rig.begun(1)
        rig.session.max_padded_tokens = 100
        await answering
        assert loop.time() - began >= 1.0


async def test_a_request_for_another_model_waits_for_the_shortest_delay() -> None:
    async with a_handler(RetryConfig(tiers_s=[30, 1])) as (handler, _):
        message = only(await outcome_of(handler, a_record({Header.MODEL: b"elsewhere"})))
    assert message.topic == TOPICS.retry("1s")
    headers = dict(message.headers)
    assert NOW_MS + 1_000 <= int(headers[Header.NOT_BEFORE_MS]) <= NOW_MS + 1_200
    assert json.loads(headers[Header.HISTORY]) == [[1, "unknown_model", NOW_MS, "w"]]


async def test_a_retry_in_place_that_is_refused_becomes_a_failure() -> None:
    async with a_handler() as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        poisoned = iter([False, True])
        rig.device.is_suspect = lambda _: True  # type: ignore[method-assign]
        rig.device.is_poison = lambda _: next(poisoned)  # type: ignore[method-assign]
        reply = decode_reply(only(await outcome_of(handler, a_record(key=b"conversation"))).value)
        assert isinstance(reply, Failure)
        assert reply.code == "poison"


async def test_retries_stay_within_their_budget() -> None:
    async with a_handler(RetryConfig(tiers_s=[0], budget_share=0.1, budget_burst=2)) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        outcomes = [await outcome_of(handler, a_record()) for _ in range(12)]
    again = [only(outcome).topic == TOPICS.retry("0s") for outcome in outcomes]
    assert again[:2] == [True, True]
    assert again.count(True) == 3


@pytest.mark.parametrize("burst", [0, 3, 7])
async def test_retries_of_either_kind_spend_one_budget(burst: int) -> None:
    """In place or through a retry topic: a run of the device more than there were requests is a retry."""
    retries = RetryConfig(tiers_s=[0], max_attempts=3, budget_share=0.0, budget_burst=burst)
    async with a_handler(retries) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        outcomes = [await outcome_of(handler, a_record(key=key)) for key in [b"conversation", None] * 5]
        in_place = len(rig.session.runs) - len(outcomes)
    by_topics = by_topic(outcomes)
    assert in_place + by_topics[TOPICS.retry("0s")] == burst
    assert by_topics[TOPICS.dead_letters] == len(outcomes) - by_topics[TOPICS.retry("0s")]


async def test_a_request_that_names_a_new_reply_topic_counts_once() -> None:
    async with a_handler(RetryConfig(tiers_s=[0], budget_share=0.5, budget_burst=1)) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        assert only(await outcome_of(handler, a_record())).topic == TOPICS.retry("0s")
        mine = f"{TOPICS.replies}.mine"
        outcome = await outcome_of(handler, a_record({Header.REPLY_TOPIC: mine.encode()}))
    assert only(outcome).topic == mine, "answered: half a retry was earned"


class Panic(BaseException):
    """Stands for the panic of a library in Rust, which is not an Exception."""


async def test_a_tokenizer_that_panics_at_one_text_harms_no_other() -> None:
    async with a_handler() as (handler, rig):
        (task, *_) = rig.tasks.values()
        prepare = task.prepare

        def panicking(asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
            if any("panic" in ask.content for ask in asks):
                raise Panic("impossible")
            return prepare(asks, max_tokens)

        task.prepare = panicking  # type: ignore[method-assign]
        bodies = [json.dumps({"id": text, "text": text}).encode() for text in ("one", "panic", "two")]
        outcomes = await asyncio.gather(
            *(outcome_of(handler, a_record()._replace(value=body)) for body in bodies)
        )
    replies = {reply.id: reply for reply in (decode_reply(outcome.messages[0].value) for outcome in outcomes)}
    assert isinstance(replies["panic"], Failure)
    assert replies["panic"].code == "device_error"
    assert all(isinstance(replies[text], Result) for text in ("one", "two"))


def by_topic(handled: list[Outcome]) -> Counter[str]:
    """The messages of the outcomes by topic, those of `then` included."""
    return Counter(
        message.topic
        for outcome in handled
        for message in (*outcome.messages, *(outcome.then or NOTHING).messages)
    )


async def test_retries_in_place_end_after_the_last_attempt() -> None:
    """The later tiers are too long to wait in place: it is tried after the shortest delay each time."""
    retries = RetryConfig(tiers_s=[0, 30], max_attempts=4)
    async with a_handler(retries) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        outcome = await outcome_of(handler, a_record(key=b"conversation"))
        assert len(rig.session.runs) == 4
    assert by_topic([outcome]) == {TOPICS.replies: 1, TOPICS.dead_letters: 1}
    assert only(outcome).topic == TOPICS.replies, "the Failure comes first"


@pytest.mark.parametrize("key", [None, b"conversation"], ids=["by tiers", "in place"])
async def test_a_dead_letter_lists_each_attempt_of_either_kind_of_retry(key: bytes | None) -> None:
    retries = RetryConfig(tiers_s=[0], max_attempts=3)
    record = a_record({"else": b"1"}, key)
    async with a_handler(retries) as (handler, rig):
        rig.session.max_padded_tokens = TOO_LITTLE
        outcome = await outcome_of(handler, record)
        while outcome.then is None:
            outcome = await outcome_of(handler, record._replace(headers=only(outcome).headers))
        assert len(rig.session.runs) == retries.max_attempts
    letter = only(outcome.then)
    headers = dict(letter.headers)
    assert (letter.value, letter.key, headers["else"]) == (record.value, key, b"1")
    assert (headers[Header.ATTEMPT], headers[Header.WORKER]) == (b"3", b"w")
    assert json.loads(headers[Header.HISTORY]) == [
        [attempt, "device_out_of_memory", NOW_MS, "w"] for attempt in (1, 2)
    ]
    (notice,) = outcome.then.if_too_large().messages if outcome.then.if_too_large else ()
    assert {*notice.headers} >= {(name, headers[name]) for name in (Header.ATTEMPT, Header.HISTORY)}


async def test_a_retry_in_place_extends_the_history_of_the_record() -> None:
    before = [[1, "device_unavailable", 5, "another"]]
    headers = {Header.ATTEMPT: b"2", Header.HISTORY: json.dumps(before).encode()}
    outcome = await failing_outcome(a_record(headers, key=b"conversation"))
    assert outcome.then is not None
    history = json.loads(dict(only(outcome.then).headers)[Header.HISTORY])
    assert history == [*before, [2, "device_out_of_memory", NOW_MS, "w"]]


async def test_the_history_of_retries_in_place_is_bounded() -> None:
    retries = RetryConfig(tiers_s=[0], max_attempts=MAX_HISTORY + 5)
    outcome = await failing_outcome(a_record(key=b"conversation"), retries)
    assert outcome.then is not None
    headers = dict(only(outcome.then).headers)
    assert headers[Header.ATTEMPT] == b"%d" % retries.max_attempts
    attempts = [line[0] for line in json.loads(headers[Header.HISTORY])]
    assert attempts == list(range(retries.max_attempts - MAX_HISTORY, retries.max_attempts))


async def test_an_oversized_history_is_left_out_of_a_letter_without_body() -> None:
    headers = {
        Header.ATTEMPT: b"9" * 600_000,
        Header.HISTORY: b"x" * 600_000,
        Header.REPLY_TOPIC: b"elsewhere",
    }
    async with a_handler() as (handler, _):
        outcome = await outcome_of(handler, a_record(headers))
    assert outcome.if_too_large is not None
    assert sum(len(value) for _, value in only(outcome.if_too_large()).headers) < 1_000


async def test_a_retry_in_place_respects_its_limit_and_the_deadline() -> None:
    long = RetryConfig(tiers_s=[10], in_place_s=5.0)
    outcome = await failing_outcome(a_record(key=b"conversation"), long)
    assert by_topic([outcome])[TOPICS.dead_letters] == 1
    allowed = RetryConfig(tiers_s=[10], in_place_s=60.0)
    headers = {Header.DEADLINE_MS: b"%d" % (NOW_MS + 5_000)}
    outcome = await failing_outcome(a_record(headers, key=b"conversation"), allowed)
    assert by_topic([outcome])[TOPICS.dead_letters] == 1


@pytest.mark.parametrize(("ahead_ms", "topic"), [(29_000, TOPICS.replies), (31_000, TOPICS.retry("30s"))])
async def test_a_retry_that_would_be_late_is_not_made(ahead_ms: int, topic: str) -> None:
    headers = {Header.ATTEMPT: b"2", Header.DEADLINE_MS: b"%d" % (NOW_MS + ahead_ms)}
    assert only(await failing_outcome(a_record(headers))).topic == topic


async def test_a_record_with_a_key_and_order_any_goes_to_a_retry_topic() -> None:
    message = only(await failing_outcome(a_record({Header.ORDER: ANY_ORDER}, key=b"content")))
    assert (message.topic, message.key) == (TOPICS.retry("0s"), b"content")


async def test_a_record_without_an_id_keeps_its_reply_id_in_all_retries() -> None:
    record = a_record()._replace(value=b'{"text":"text"}')
    retries = RetryConfig(tiers_s=[0], max_attempts=4)
    for attempt in range(1, 4):
        waiting = only(await failing_outcome(record, retries))
        assert waiting.topic == TOPICS.retry("0s")
        record = record._replace(offset=99 + attempt, partition=0, headers=waiting.headers)
    assert decode_reply(only(await failing_outcome(record, retries)).value).id == WHERE
    async with a_handler() as (handler, _):
        assert decode_reply(only(await outcome_of(handler, record)).value).id == WHERE


async def test_an_oversized_origin_ends_in_a_reply_that_fits() -> None:
    headers = {Header.ORIGIN: b"x" * 600_000}
    outcome = await failing_outcome(a_record(headers)._replace(value=b'{"text":""}'))
    assert len(only(outcome).value) < 1_000
    assert len(only(outcome).key or b"") < 1_000


POISON = Poison("This text ended the worker's process.")
BLAMED = [(DeviceError("no"), True), (DeviceUnavailable("gone"), True), (LookupError("a defect"), True)]
NOT_BLAMED = [(POISON, False), (Overloaded("busy"), False), (DeadlineExceeded("late"), False)]


@pytest.mark.parametrize(("error", "blamed"), [*BLAMED, *NOT_BLAMED])
async def test_the_breaker_counts_what_the_worker_is_to_blame_for(error: Exception, blamed: bool) -> None:
    breaker = Breaker(BreakerConfig(in_a_row=1), lambda: 0.0)
    stamp = WorkerStamp("w", lambda: NOW_S)
    replies = ReplyBuilder("echo", 1_000)
    failures = FailurePolicy(
        TOPICS, RetryConfig(tiers_s=[]), replies, WorkerMetrics().of_task("echo"), breaker, stamp
    )
    record = a_record()
    arrival = Arrival(record, header_map(record), TOPICS.replies, 0, "t1")
    outcome = failures.retry_or_end(arrival, error, "1", 0.0)
    assert isinstance(outcome, Outcome)
    assert breaker.is_open == blamed
    assert (outcome.then is not None) == (blamed or error is POISON)


async def test_only_an_answer_of_the_device_closes_the_breaker() -> None:
    """The trial that closes a breaker must not be an answer from the cache."""
    time_s = 0.0
    config = BreakerConfig()
    breaker = Breaker(config, lambda: time_s)
    async with a_handler(breaker=breaker) as (handler, _):
        await outcome_of(handler, a_record())
        for _ in range(config.in_a_row):
            breaker.dead()
        time_s = config.cooldown_s
        assert breaker.begin_trial()
        await outcome_of(handler, a_record())
        assert breaker.is_open
        await outcome_of(handler, a_record()._replace(value=b'{"text":"another"}'))
        assert not breaker.is_open
