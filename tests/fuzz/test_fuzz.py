"""Whatever a record holds: no exception, one outcome, a defined one."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.handler_rig import HEADERS, MINE, NOW_S, TOPICS, FailingHandlerRig, check

from inferstream.pipeline.broker.base import Record, Unread
from inferstream.schemas.codec import DecodeError, decode_reply, decode_request

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(max_size=40) | st.text("ab ?!%\0\a", min_size=1, max_size=40)
requests = st.fixed_dictionaries(
    {},
    optional={
        "text": texts | json_values,
        "id": st.text(max_size=8) | json_values,
        "task": st.just("echo") | json_values,
        "options": st.just({"shout": True}) | json_values,
        "stream": st.booleans() | json_values,
        "other": json_values,
    },
)
bodies = requests.map(lambda body: json.dumps(body).encode())
asking = texts.map(lambda text: json.dumps({"text": text}).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request with some bytes in it replaced, left out or put in."""
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        body[start : start + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(body)


values = (
    st.binary(max_size=12)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.integers(-2, 5).map(lambda number: b"%d" % number)
    | st.integers(-60_000, 10**7).map(lambda ms: b"%d" % (round(NOW_S * 1e3) + ms))
    | st.sampled_from([MINE, TOPICS.replies, "high", "any", "echo-small", "t/0/1"]).map(str.encode)
    | st.builds(
        lambda text, size: text.encode() * size, st.text(min_size=1, max_size=2), st.integers(1, 4_000)
    )
)
headers = st.lists(st.tuples(st.sampled_from(HEADERS) | st.text(max_size=5), values), max_size=6).map(tuple)
records = st.builds(
    Record,
    st.just(TOPICS.requests),
    st.integers(0, 40),
    st.integers(0, 2**63 - 1),
    st.none() | st.binary(max_size=4) | st.just(b"k" * 4_000),
    st.none() | asking | bodies | damaged() | st.binary(max_size=40),
    headers,
    st.integers(0, 2**41),
    st.none() | st.builds(Unread, st.integers(0, 2**63 - 1), st.integers(0, 2**31), st.just("it is damaged")),
)


@pytest.fixture(scope="module")
def rig() -> Iterator[FailingHandlerRig]:
    with FailingHandlerRig() as opened:
        yield opened


def outcome_of(decode: Callable[[bytes | None], Any], value: bytes | None) -> Any:
    try:
        return decode(value)
    except DecodeError as error:
        return error


@given(st.none() | st.binary() | bodies | damaged())
@example(b'{"text":"\\ud800"}')
@example(b"[" * 100_000)
@example(b'{"id":' + b"9" * 5_000 + b"}")
def test_bytes_are_a_message_or_a_sentence(value: bytes | None) -> None:
    for decode in (decode_request, decode_reply):
        found = outcome_of(decode, value)
        if isinstance(found, DecodeError):
            assert found.code
            assert found.message.endswith((".", "}."))
        else:
            assert found.id is None or isinstance(found.id, str)


@settings(max_examples=600)
@given(records)
def test_any_record_has_one_defined_outcome(rig: FailingHandlerRig, record: Record) -> None:
    check(record, rig.outcome(record))
