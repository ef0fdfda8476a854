"""The golden bytes of v1 stay readable, and for any bytes the codec returns a message or raises DecodeError."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.schemas.cancels import Cancel, Heartbeat, decode_cancel
from inferstream.schemas.codec import DecodeError, decode_reply, decode_request, encode
from inferstream.schemas.messages import (
    BatchInfo,
    Chunk,
    EmbedOutput,
    Failure,
    Request,
    Result,
    Timings,
    TriageOutput,
)
from inferstream.schemas.translation import TranslateOutput

GOLDEN = Path(__file__).parent / "golden" / "v1"
OUTPUT = TriageOutput("billing", 0.91, "high", "billing-team", needs_human=False)
TRANSLATION = TranslateOutput("Eu fui cobrado duas vezes", "en", "pt")
VECTOR = EmbedOutput([0.0267219, -0.1183504, 0.9925], 3)
MESSAGES: dict[str, Request | Result | Chunk | Failure] = {
    "request-text": Request(text="I was charged twice"),
    "request-full": Request(
        text="Fui cobrado duas vezes – 2 × 9,90 €", id="t1", task="triage", options={"threshold": 0.5}
    ),
    "reply-result": Result(
        id="t1",
        task="triage",
        model="minilm-int8",
        version="1f6e2c9b",
        output=msgspec.Raw(msgspec.json.encode(OUTPUT)),
        cache="memory",
        timings=Timings(0.21, 1.5, 6.25, 0.0625, 8.5),
        batch=BatchInfo(rows=8, tokens=118, padded_tokens=120),
    ),
    "reply-result-of-a-release": Result(
        id="t1",
        task="triage",
        model="shop",
        version="1f6e2c9b",
        output=msgspec.Raw(msgspec.json.encode(OUTPUT)),
        release="0123456789ab",
    ),
    "request-embed": Request(text="I was charged twice", id="e1", options={"dimensions": 256}),
    "reply-embed": Result(
        id="e1",
        task="embed",
        model="minilm-int8",
        version="0d6a1c44",
        output=msgspec.Raw(msgspec.json.encode(VECTOR)),
    ),
    "request-translate": Request(
        text="I was charged twice",
        id="s/0/1",
        options={"source": "en", "target": "pt", "prefix": "Eu", "glossary": {"invoice": "fatura"}},
    ),
    "reply-translate": Result(
        id="s/0/1",
        task="translate",
        model="translate-en-pt-int8",
        version="8b1f0e5a",
        output=msgspec.Raw(msgspec.json.encode(TRANSLATION)),
    ),
    "request-stream": Request(text="Tell me a story", id="g1", stream=True),
    "request-partial": Request(text="I was charged", id="call-7/0/1", final=False, supersedes="call-7/0/0"),
    "reply-superseded": Failure(
        id="call-7/0/0",
        task="translate",
        code="superseded",
        message="A newer request takes the place of this one, as its sender has said.",
    ),
    "reply-chunk": Chunk(
        id="g1",
        seq=3,
        task="generate",
        model="m",
        version="1",
        from_=7,
        output=msgspec.Raw(b'[" and"," the"]'),
    ),
    "reply-result-behind-chunks": Result(
        id="g1",
        task="generate",
        model="m",
        version="1",
        output=msgspec.Raw(b'{"text":"Once and the"}'),
        seq=4,
    ),
    "reply-failure-behind-chunks": Failure(
        id="g1", task="generate", code="deadline_exceeded", message="The deadline passed.", seq=4
    ),
    "reply-mark": Chunk(
        id="g1",
        seq=4,
        task="generate",
        model="",
        version="",
        from_=0,
        output=msgspec.Raw(b"[]"),
        epoch=12,
    ),
    "reply-chunk-of-an-epoch": Chunk(
        id="g1",
        seq=5,
        task="generate",
        model="m",
        version="1",
        from_=9,
        output=msgspec.Raw(b'[" end"]'),
        epoch=12,
    ),
    "reply-result-of-an-epoch": Result(
        id="g1",
        task="generate",
        model="m",
        version="1",
        output=msgspec.Raw(b'{"text":"Once and the end"}'),
        seq=6,
        epoch=12,
    ),
    "reply-failure-of-an-epoch": Failure(
        id="g1", task="generate", code="deadline_exceeded", message="The deadline passed.", seq=6, epoch=12
    ),
    "reply-failure": Failure(id="t2", task="triage", code="blank_text", message="The field `text` is blank."),
    "reply-overloaded": Failure(
        id="t3",
        task="triage",
        code="overloaded",
        message="Come back later.",
        retryable=True,
        retry_after_ms=900,
        model="minilm-int8",
        version="1f6e2c9b",
    ),
}
CANCELS: dict[str, Cancel | Heartbeat] = {
    "cancel": Cancel("t1"),
    "cancel-superseded": Cancel("inferstream.translate.requests/0/17", "superseded"),
    "heartbeat": Heartbeat("8f2c11d09a7b4e35"),
    "heartbeat-read": Heartbeat("8f2c11d09a7b4e35", {"g1": 240}),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(
    st.sampled_from(["text", "id", "task", "options", "stream", "final", "supersedes", "future"]), JSON
).map(lambda body: json.dumps(body).encode())
CODES = {"empty_body", "not_utf8", "not_json", "wrong_type", "missing_text", "blank_text"}


def read(value: bytes) -> Request | DecodeError:
    try:
        return decode_request(value)
    except DecodeError as error:
        return error


def refused(value: bytes | None) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_request(value)
    assert caught.value.code in CODES
    return caught.value


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_bytes_are_read_and_written(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes()
    message = MESSAGES[name]
    assert encode(message) == golden
    assert (decode_request if isinstance(message, Request) else decode_reply)(golden) == message


@pytest.mark.parametrize("name", CANCELS)
def test_golden_cancels_are_read_and_written(name: str) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes()
    assert encode(CANCELS[name]) == golden
    assert decode_cancel(golden) == CANCELS[name]


def test_a_cancel_with_a_reason_of_a_later_version_cancels() -> None:
    assert decode_cancel(b'{"id":"t1","reason":"bored","new":[1]}') == Cancel("t1")


@given(st.binary() | BODIES)
def test_any_bytes_are_a_cancel_or_a_decode_error(value: bytes) -> None:
    try:
        message = decode_cancel(value)
    except DecodeError:
        return
    assert isinstance(message, Cancel | Heartbeat)


def test_unknown_fields_are_ignored() -> None:
    assert decode_request(b'{"text":"a","added_later":{"x":[1]}}') == Request(text="a")
    assert decode_reply(b'{"type":"failure","id":"1","task":"t","code":"c","message":"m","new":1}').id == "1"


@pytest.mark.parametrize(
    ("value", "code", "tells"),
    [
        (None, "empty_body", "body is empty"),
        (b" \n", "empty_body", "body is empty"),
        (b'{"text":"\xff"}', "not_utf8", "byte 9"),
        (b'{"unknown":"\xff","text":"a"}', "not_utf8", "encode the JSON as UTF-8"),
        (b"I was charged twice", "not_json", 'send an object such as {"text"'),
        (b'\xef\xbb\xbf{"text":"a"}', "not_json", "byte order mark"),
        (b'{"text":"\\ud800"}', "not_json", "surrogate"),
        (b'{"text":"\x00"}', "not_json", "invalid character"),
        (b'{"text":"a"}{"text":"b"}', "not_json", "trailing"),
        (b'{"future":' + b"[" * 200_000, "not_json", "nested too deeply"),
        (b'{"options":{"a":' + b'{"a":' * 200_000, "not_json", "nested too deeply"),
        (b'["a"]', "wrong_type", "must be a JSON object, got an array"),
        (b'{"text":7}', "wrong_type", "`text` must be a string, got a number"),
        (b'{"text":null}', "wrong_type", "got null"),
        (b'{"text":1e999}', "wrong_type", "out of range"),
        (b'{"text":"a","options":{"x":1' + b"0" * 5000 + b"}}", "wrong_type", "out of range"),
        (b'{"text":"a","id":true}', "wrong_type", "`id` must be a string, got a boolean"),
        (b'{"text":"a","options":[]}', "wrong_type", "`options` must be an object, got an array"),
        (b'{"text":"a","stream":1}', "wrong_type", "`stream` must be a boolean, got a number"),
        (b'{"text":"a","final":"no"}', "wrong_type", "`final` must be a boolean, got a string"),
        (b'{"text":"a","supersedes":7}', "wrong_type", "`supersedes` must be a string, got a number"),
        (b"{}", "missing_text", "`text` is missing"),
        (b'{"schema":{"type":"struct"},"payload":{"text":"a"}}', "missing_text", "Kafka Connect or Debezium"),
        (b'{"schema":null,"payload":null}', "missing_text", "schemas.enable=false"),
        (b'{"specversion":"1.0","type":"t","data":{"text":"a"}}', "missing_text", "is a CloudEvent"),
        (b'{"data":{"text":"a"}}', "missing_text", "`text` is inside of `data`"),
        (b'{"before":null,"after":{"id":1,"text":"a"},"op":"c"}', "missing_text", "inside of `after`"),
        (b'{"data":{"body":"a"}}', "missing_text", "The field `text` is missing"),
        (b'{"data":"text"}', "missing_text", "The field `text` is missing"),
        (b'\x00\x00\x00\x00\x07{"text":"a"}', "not_json", "bytes of a schema registry (schema 7)"),
        (b"\x00\x00\x00\x01\x07\x02\x0eI was c", "not_json", "schema registry (schema 263)"),
        (b"\x00\x00\x01\x86\xa0\x02\x0eI", "not_utf8", "schema registry (schema 100000)"),
        ('{"text":"a"}'.encode("utf-16"), "not_utf8", "looks like UTF-16"),
        ('{"text":"a"}'.encode("utf-16-le"), "not_json", "looks like UTF-16"),
        ('{"text":"a"}'.encode("utf-16-be"), "not_json", "looks like UTF-16"),
        (b'"{\\"text\\":\\"a\\"}"', "wrong_type", "it was encoded twice"),
        (b'"I was charged twice"', "wrong_type", "must be a JSON object, got a string"),
        (b'{"payload":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "not_json", "nested"),
        (b'{"text":""}', "blank_text", "`text` is blank"),
        (b'{"text":" \\u2003\\n"}', "blank_text", "not a space"),
    ],
)
def test_a_bad_body_says_what_to_do(value: bytes | None, code: str, tells: str) -> None:
    error = refused(value)
    assert (error.code, tells in error.message) == (code, True), error.message
    assert str(error) == error.message
    assert error.message.endswith((".", "}."))


@pytest.mark.parametrize(
    ("value", "request_id"),
    [
        (b'{"id":"t1","text":7}', "t1"),
        (b'{"text":7,"id":42}', "42"),
        (b'{"text":7,"id":true}', None),
        (b'{"id":"t1"}', "t1"),
        (b'{"id":"t1","text":" "}', "t1"),
        (b' { "id" : "t\\u00e9\\"1" , "text": "cut o', 't\u00e9"1'),
        (b'{"id":"t1","text":"\xff"}', "t1"),
        (b'{"order":{"id":"not ours"},"text":"cut o', None),
    ],
)
def test_the_id_is_read_from_an_invalid_body(value: bytes, request_id: str | None) -> None:
    assert refused(value).id == request_id


def test_repeated_keys_count_once() -> None:
    assert decode_request(b'{"text":"a","text":"b"}') == Request(text="b")


@given(
    st.binary()
    | BODIES
    | BODIES.map(lambda body: body[:-2])
    | JSON.map(lambda body: json.dumps(body).encode())
)
def test_any_bytes_are_a_request_or_a_decode_error(value: bytes) -> None:
    outcome = read(value)
    if isinstance(outcome, Request):
        assert isinstance(outcome.text, str)
        assert outcome.text.strip()
    else:
        assert outcome.code in CODES
        assert outcome.id is None or isinstance(outcome.id, str)


@given(st.binary() | BODIES)
def test_any_bytes_are_a_reply_or_a_decode_error(value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_reply(value)


@given(
    text=st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip),
    request_id=st.none() | st.text(st.characters(codec="utf-8")),
    options=st.dictionaries(
        st.text(), st.none() | st.booleans() | st.text() | st.integers(-(2**63), 2**63 - 1)
    ),
)
def test_a_decoded_request_equals_the_encoded_one(
    text: str, request_id: str | None, options: dict[str, Any]
) -> None:
    request = Request(text=text, id=request_id, options=options)
    assert decode_request(encode(request)) == request


def test_decoding_is_fast_enough() -> None:
    """15 000 requests/s leave 67 µs for each. The codec may use a tenth of that; here it may take ten times more."""
    import timeit

    value = encode(Request(text="I was charged twice for the same invoice. " * 4, id="t1"))
    assert min(timeit.repeat(lambda: decode_request(value), number=1_000, repeat=5)) < 0.067


class Spoken(Request, kw_only=True):
    """A request of a task whose content is not a text."""

    audio: str
    rate: int = 16_000


@pytest.mark.parametrize(
    ("value", "code", "sentence"),
    [
        (b"", "empty_body", 'send a JSON object such as {"audio": …}'),
        (b'{"id":"s1"}', "wrong_type", 'lacks the field `audio`: send {"audio": …}'),
        (
            b'{"id":"s1","audio":"x","rate":"fast"}',
            "wrong_type",
            "`rate` is wrong: expected `int`, got `str`.",
        ),
        (b"[1]", "wrong_type", "must be a JSON object (expected `object`, got `array`): send"),
        (b'"{\\"audio\\":1}"', "wrong_type", 'Send the object itself, such as {"audio": …}.'),
        (b'{"id":"s1","audio":', "not_json", 'send an object such as {"audio": …}.'),
    ],
)
def test_a_request_of_another_type_is_read_and_refused_by_its_own_fields(
    value: bytes, code: str, sentence: str
) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_request(value, Spoken)
    assert raised.value.code == code
    assert sentence in raised.value.message
    assert "text" not in raised.value.message
    if b"s1" in value:
        assert raised.value.id == "s1"


def test_a_request_of_another_type_needs_no_text() -> None:
    whole = Spoken(audio="abc", id="s1", options={"x": 1})
    assert decode_request(encode(whole), Spoken) == whole
    assert decode_request(b'{"audio":"a","text":" "}', Spoken) == Spoken(audio="a", text=" ")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_of_another_type_or_a_decode_error(value: bytes) -> None:
    with suppress(DecodeError):
        assert isinstance(decode_request(value, Spoken), Spoken)
