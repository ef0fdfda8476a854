"""A reply repeats what belongs to its request, and none is larger than it may be."""

from collections.abc import Callable

import pytest
from msgspec import Raw

from inferstream.pipeline.broker.base import Headers, Message, Record
from inferstream.pipeline.delivery.arrival import MAX_ID_CHARACTERS, Arrival, header_map
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.replies import MAX_ECHO_BYTES, ReplyBuilder, short_message
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.errors import (
    BadHeader,
    DeviceUnavailable,
    InferstreamError,
    NotWritable,
    Overloaded,
)
from inferstream.schemas.codec import DecodeError, decode_reply
from inferstream.schemas.messages import BatchInfo, Failure, Result, Timings
from inferstream.schemas.topics import ANY_ORDER, Header

TRACE = (Header.TRACEPARENT, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
WHERE = "requests/3/41"
ANSWER = EngineAnswer(b'{"a":1}', "minilm", "v1", "miss", Timings(1, 2, 3, 4, 10), BatchInfo(2, 7, 8))


def an_arrival(identity: str | None = "t1", key: bytes | None = b"key", headers: Headers = ()) -> Arrival:
    record = Record("requests", 3, 41, key, b"{}", headers, 0)
    return Arrival(record, header_map(record), "replies.mine", 2, identity)


def only(outcome: Outcome) -> Message:
    (message,) = outcome.messages
    return message


def smaller(outcome: Outcome) -> Outcome:
    assert outcome.if_too_large is not None
    return outcome.if_too_large()


def test_a_result_holds_the_answer_and_goes_where_its_request_asked() -> None:
    message = only(ReplyBuilder("echo", 1_000).result(an_arrival(headers=(("else", b"1"), TRACE)), ANSWER))
    assert message._replace(value=b"") == Message("replies.mine", b"", b"key", (TRACE,), 2)
    assert decode_reply(message.value) == Result(
        id="t1",
        task="echo",
        model="minilm",
        version="v1",
        output=Raw(b'{"a":1}'),
        cache="miss",
        timings=ANSWER.timings,
        batch=ANSWER.batch,
    )


@pytest.mark.parametrize("key", [None, b""])
def test_without_a_key_a_reply_has_the_id_of_its_request_as_its_key(key: bytes | None) -> None:
    builder = ReplyBuilder("echo", 1_000)
    arrival = an_arrival(key=key)
    assert only(builder.result(arrival, ANSWER)).key == b"t1"
    assert only(builder.failure(arrival, DeviceUnavailable("gone"))).key == b"t1"


def test_a_result_may_be_as_large_as_the_limit_and_no_larger() -> None:
    size = len(only(ReplyBuilder("echo", 10_000).result(an_arrival(), ANSWER)).value)
    fits = only(ReplyBuilder("echo", size).result(an_arrival(), ANSWER))
    assert isinstance(decode_reply(fits.value), Result)
    instead = decode_reply(only(ReplyBuilder("echo", size - 1).result(an_arrival(), ANSWER)).value)
    assert isinstance(instead, Failure)
    assert (instead.code, instead.id, instead.task, instead.retryable) == (
        "reply_too_large",
        "t1",
        "echo",
        False,
    )
    assert f"has {size} bytes" in instead.message


ERRORS: list[tuple[InferstreamError | DecodeError, str, bool, int | None]] = [
    (Overloaded("Too much.", 1_500), "overloaded", True, 1_500),
    (DeviceUnavailable("Gone."), "device_unavailable", True, None),
    (BadHeader("Wrong."), "bad_header", False, None),
    (DecodeError("not_json", "Not JSON.", None), "not_json", False, None),
]


@pytest.mark.parametrize(("error", "code", "retryable", "retry_after_ms"), ERRORS)
def test_a_failure_says_what_its_error_says(
    error: InferstreamError | DecodeError, code: str, retryable: bool, retry_after_ms: int | None
) -> None:
    message = only(ReplyBuilder("echo", 1_000).failure(an_arrival(headers=(TRACE,)), error))
    assert message._replace(value=b"") == Message("replies.mine", b"", b"key", (TRACE,), 2)
    assert decode_reply(message.value) == Failure(
        id="t1",
        task="echo",
        code=code,
        message=str(error),
        retryable=retryable,
        retry_after_ms=retry_after_ms,
    )


def test_what_the_broker_finds_too_large_gets_smaller_and_ends_without_key_and_headers() -> None:
    arrival = an_arrival(headers=(TRACE,))
    result = ReplyBuilder("echo", 1_000).result(arrival, ANSWER)
    failure = ReplyBuilder("echo", 1_000).failure(arrival, DeviceUnavailable("gone"))
    for outcome, code in ((smaller(result), "reply_too_large"), (failure, "device_unavailable")):
        last = smaller(outcome)
        reply = decode_reply(only(outcome).value)
        assert isinstance(reply, Failure)
        assert (reply.code, reply.id) == (code, "t1")
        assert only(last) == only(outcome)._replace(key=b"t1", headers=())
        assert (last.if_too_large, last.then) == (None, None)


@pytest.mark.parametrize("size", [0, 499, 500, 501, 9_000])
def test_a_message_of_more_than_500_characters_keeps_its_begin_and_its_end(size: int) -> None:
    text = "".join(chr(ord("一") + n) for n in range(size))
    expected = text if size <= 500 else f"{text[:300]} … {text[-200:]}"
    assert short_message(BadHeader(text)) == expected


def test_an_id_may_have_as_many_characters_as_are_allowed_and_no_more() -> None:
    for size, expected in ((MAX_ID_CHARACTERS, "i" * MAX_ID_CHARACTERS), (MAX_ID_CHARACTERS + 1, WHERE)):
        assert an_arrival("i" * size).reply_id == expected
    assert [an_arrival(identity).reply_id for identity in (None, "", "t1")] == [WHERE, "", "t1"]


@pytest.mark.parametrize("key", [None, b"", b"key"])
@pytest.mark.parametrize("order", [None, ANY_ORDER, b"kept", b""])
def test_order_matters_where_there_is_a_key_and_no_word_to_the_contrary(
    key: bytes | None, order: bytes | None
) -> None:
    headers = () if order is None else ((Header.ORDER, order),)
    assert an_arrival(key=key, headers=headers).keeps_order == (key is not None and order != ANY_ORDER)


def test_of_a_repeated_header_the_last_value_counts() -> None:
    assert an_arrival(headers=(("a", b"1"), ("b", b"2"), ("a", b"3"))).headers == {"a": b"3", "b": b"2"}
    assert an_arrival().headers == {}


def test_a_reply_repeats_the_headers_that_are_asked_for_as_far_as_there_is_room() -> None:
    builder = ReplyBuilder("echo", 1_000, ["correlation-*", "Ref"])
    asked = (("Correlation-Id", b"1"), ("ref", b"2"), ("correlation-id", b"3"))
    headers = (("else", b"0"), *asked, TRACE, ("xref", b"4"), ("correlation", b"5"))
    assert only(builder.result(an_arrival(headers=headers), ANSWER)).headers == (*asked, TRACE)
    room = MAX_ECHO_BYTES - len("refö".encode())
    builder = ReplyBuilder("echo", 1_000, ["refö", "after"])
    for size, echoed in ((room - 1, 1), (room, 1), (room + 1, 0)):
        headers = (("refö", b"x" * size), ("after", b"1"))
        assert len(only(builder.result(an_arrival(headers=headers), ANSWER)).headers) == echoed


def test_a_reply_that_cannot_be_written_ends_as_the_worker_says() -> None:
    ends: list[Arrival] = []

    def undeliverable(arrival: Arrival) -> Callable[[NotWritable], Outcome]:
        ends.append(arrival)
        return lambda error: Outcome((Message("dead-letters", str(error).encode()),))

    builder = ReplyBuilder("echo", 1_000, undeliverable=undeliverable)
    arrival = an_arrival()
    result, failure = builder.result(arrival, ANSWER), builder.failure(arrival, DeviceUnavailable("gone"))
    for outcome in (result, smaller(result), smaller(smaller(result)), failure, smaller(failure)):
        instead = outcome.instead(NotWritable("It was deleted."))
        assert outcome.mends(NotWritable(""))
        assert instead == Outcome((Message("dead-letters", b"It was deleted."),))
    assert set(map(id, ends)) == {id(arrival)}
    for outcome in (ReplyBuilder("echo", 1_000).result(arrival, ANSWER),):
        assert not outcome.mends(NotWritable(""))
        assert outcome.instead(NotWritable("")) is None, "that ends the worker"
