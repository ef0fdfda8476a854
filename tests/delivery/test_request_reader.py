"""What a request asks for is read from body and headers, or it ends with an error that names what is wrong."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inferstream.pipeline.broker.base import Headers, Record
from inferstream.pipeline.delivery.arrival import MAX_ID_CHARACTERS
from inferstream.pipeline.delivery.request_reader import RequestReader
from inferstream.pipeline.engine.engine import Job
from inferstream.pipeline.errors import BadHeader, DeadlineExceeded, InferstreamError, TooLarge
from inferstream.schemas.codec import DecodeError
from inferstream.schemas.messages import Request
from inferstream.schemas.topics import PRIORITIES, Header, Topics

TOPICS = Topics("echo")
NOW_S, CLOCK_S = 1_700_000_000.0, 50.0
MAX_BYTES = 3_000
READER = RequestReader(TOPICS, MAX_BYTES, lambda: CLOCK_S, lambda: NOW_S)


def body(**fields: Any) -> bytes:
    return json.dumps({"text": "text"} | fields).encode()


def a_record(value: bytes | None, headers: Headers = ()) -> Record:
    return Record(TOPICS.requests, 1, 41, b"key", value, headers, 0)


def read(value: bytes | None, *headers: tuple[str, bytes]) -> Job:
    """The job that is read; it is also the one that the arrival keeps."""
    arrival = READER.arrival(a_record(value, headers))
    job = READER.read(arrival)
    assert arrival.job is job
    return job


def test_a_request_that_says_nothing_else_has_the_defaults() -> None:
    origin = f"{TOPICS.requests}/1/41"
    expected = Job(
        "echo", Request(text="text"), None, "", math.inf, PRIORITIES.index("normal"), id=origin, key=b"key"
    )
    assert read(body()) == expected
    assert read(body(), ("else", b"1")) == expected
    assert replace(read(body(task="echo")), request=expected.request) == expected


@given(
    st.text(min_size=1, max_size=5),
    st.text(min_size=1, max_size=5),
    st.sampled_from(PRIORITIES),
    st.integers(1, 10**9),
    st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
)
def test_a_job_is_what_body_and_headers_ask_for(
    model: str, tenant: str, priority: str, ahead_ms: int, options: dict[str, bool]
) -> None:
    job = read(
        body(options=options),
        (Header.MODEL, model.encode()),
        (Header.TENANT, tenant.encode()),
        (Header.PRIORITY, priority.encode()),
        (Header.RELEASE, b"0123456789ab"),
        (Header.DEADLINE_MS, b"%d" % (NOW_S * 1e3 + ahead_ms)),
    )
    assert (job.key, job.release) == (b"key", "0123456789ab")
    assert replace(job, expires=0.0, id="", key=b"", release="") == Job(
        "echo", Request(text="text", options=options), model, tenant, 0.0, PRIORITIES.index(priority)
    )
    assert job.expires == pytest.approx(CLOCK_S + ahead_ms / 1e3, abs=1e-5)


def test_a_job_has_the_id_of_its_reply() -> None:
    assert read(body(id="own")).id == "own"
    assert read(body(id="own"), (Header.TENANT, b"acme")).id == "own"
    assert read(body(), (Header.ORIGIN, b"first.requests/3/7")).id == "first.requests/3/7"


def test_a_deadline_passes_at_its_millisecond() -> None:
    now_ms = round(NOW_S * 1e3)
    assert read(body(), (Header.DEADLINE_MS, b"%d" % (now_ms + 1))).expires > CLOCK_S
    for deadline_ms in (now_ms, now_ms - 1, 0):
        with pytest.raises(DeadlineExceeded):
            read(body(), (Header.DEADLINE_MS, b"%d" % deadline_ms))


def test_a_request_may_have_as_many_bytes_as_are_allowed_and_no_more() -> None:
    assert len(read(body(text="x" * (MAX_BYTES - len(body(text=""))))).request.text) > 2_900
    with pytest.raises(TooLarge, match=f"{MAX_BYTES + 1} bytes, more than the {MAX_BYTES}"):
        read(body(text="x" * (MAX_BYTES + 1 - len(body(text="")))))


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 10 * MAX_BYTES])
@pytest.mark.parametrize("first", [True, False])
def test_a_request_that_is_too_large_is_answered_under_its_own_id(size: int, first: bool) -> None:
    text = {"text": "x" * size}
    value = json.dumps({"id": "t1"} | text if first else text | {"id": "t1"}).encode()
    arrival = READER.arrival(a_record(value))
    with pytest.raises(TooLarge):
        READER.read(arrival)
    assert arrival.reply_id == "t1"


@pytest.mark.parametrize("value", [b"x" * 4_000, b"[" * 4_000, b'{"id":{},"text":"' + b"x" * 4_000 + b'"}'])
def test_what_is_too_large_and_has_no_id_is_answered_under_its_origin(value: bytes) -> None:
    arrival = READER.arrival(a_record(value))
    with pytest.raises(TooLarge):
        READER.read(arrival)
    assert arrival.reply_id == f"{TOPICS.requests}/1/41"


def test_an_id_may_have_as_many_characters_as_are_allowed_and_no_more() -> None:
    for size in (0, 1, MAX_ID_CHARACTERS):
        arrival = READER.arrival(a_record(body(id="i" * size)))
        READER.read(arrival)
        assert arrival.id == arrival.reply_id == "i" * size
    with pytest.raises(TooLarge, match="`id` is longer"):
        read(body(id="i" * (MAX_ID_CHARACTERS + 1)))


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        (None, None),
        (b"no", None),
        (body(), None),
        (body(id="t1"), "t1"),
        (body(id="t1", text=7), "t1"),
        (body(id="t1", task="else"), "t1"),
    ],
)
def test_the_id_is_known_also_of_a_request_that_is_wrong(value: bytes | None, identity: str | None) -> None:
    arrival = READER.arrival(a_record(value))
    try:
        READER.read(arrival)
    except (DecodeError, InferstreamError):
        assert arrival.job.task == "", "nothing is asked of the engine"
    assert arrival.id == identity


def test_a_wrong_header_is_named_with_the_begin_of_its_value() -> None:
    with pytest.raises(BadHeader, match=r"'priority' must be one of high, normal, low, got b'x{40}'\."):
        read(body(), (Header.PRIORITY, b"x" * 90))


def test_the_reply_topic_is_the_named_one_or_the_default() -> None:
    assert READER.arrival(a_record(None)).reply_topic == TOPICS.replies
    named = READER.arrival(a_record(None, ((Header.REPLY_TOPIC, b"mine\xff"), ("else", b"1"))))
    assert (named.reply_topic, named.headers["else"], named.reply_partition) == ("mine\ufffd", b"1", None)
