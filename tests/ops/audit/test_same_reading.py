"""Worker and auditor read a record each in their own way: they must agree on what it says, whatever its bytes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chain_worker import CHAIN, chain_config, know_both
from support.handler_rig import LIMITS, NOW_S, TOPICS

from inferstream.pipeline.broker.base import Record, Unread
from inferstream.pipeline.delivery.chain import StepReader
from inferstream.pipeline.delivery.dead_letters import batch_letter
from inferstream.pipeline.delivery.request_reader import RequestReader
from inferstream.pipeline.errors import BadRequest, InferstreamError
from inferstream.pipeline.ops.audit.facts import Audited, EventFact, RequestFact
from inferstream.pipeline.tasks.chains.chain import steps_of
from inferstream.pipeline.tasks.chains.declared import chains_of
from inferstream.schemas.codec import DecodeError
from inferstream.schemas.messages import Request
from inferstream.schemas.topics import Header, Topics

AUDITED = Audited(TOPICS)


class Counted(Request, kw_only=True):
    """A request of a task whose content is no text."""

    numbers: list[int]


READERS = [
    RequestReader(TOPICS, LIMITS.max_request_bytes, lambda: 0.0, lambda: NOW_S, kind=kind)
    for kind in (Request, Counted)
]
NAMES = st.sampled_from([Header.ORDER, Header.REPLY_TOPIC, Header.ORIGIN, Header.ATTEMPT, "\\xff"]) | st.text(
    max_size=4
)
BYTES = st.binary(max_size=12) | st.sampled_from(
    [b"any", b"inferstream.echo.requests/1/2", b"\xff\xfe", b"2", b""]
)
BODIES = st.binary(max_size=40) | st.sampled_from(
    [
        b'{"id": "a", "text": "t"}',
        b'{"id": "\xff", "text": "t"}',
        b'{"id": 7}',
        b'{"id": "a", "numbers": [1]}',
        b'{"id": "a", "numbers": ["x"]}',
        b'{"id": 7, "numbers": [1]}',
        b'{"id": "a", "text": 5, "numbers": [1]}',
        b'{"numbers": [1]}',
        b'{"id": "%s", "text": "t"}' % (b"x" * 1_001),
    ]
)


@given(
    body=st.none() | BODIES,
    key=st.none() | st.binary(max_size=3),
    headers=st.lists(st.tuples(NAMES, BYTES), max_size=5).map(tuple),
    reader=st.sampled_from(READERS),
)
def test_worker_and_auditor_agree(
    body: bytes | None, key: bytes | None, headers: tuple[tuple[str, bytes], ...], reader: RequestReader
) -> None:
    record = Record(TOPICS.requests, 1, 41, key, body, headers, 0)
    arrival = reader.arrival(record)
    with suppress(BadRequest, DecodeError):
        reader.read(arrival)
    fact = AUDITED.fact(record)
    assert isinstance(fact, RequestFact)
    if not any(name == Header.ORIGIN for name, _ in headers):  # a malformed one is ignored by the worker
        assert fact.identity == arrival.reply_id
    assert (fact.key is not None) == arrival.keeps_order
    assert (fact.reply_topic or TOPICS.replies) == (arrival.reply_topic or TOPICS.replies)


@given(
    body=st.none()
    | BODIES
    | st.sampled_from(
        [
            b'{"id": "a/2", "text": "t"}',
            b'{"id": "a/2/2", "text": "t"}',
            b'{"id": "/2", "text": ""}',
            b'{"id": "%s/2", "text": "t"}' % (b"x" * 1_000),
            b'{"id": "%s/2", "text": "t"}' % (b"x" * 1_001),
            b'{"type": "failure", "id": "a/2", "task": "t", "code": "c", "message": "m"}',
        ]
    ),
    headers=st.lists(
        st.tuples(NAMES | st.sampled_from([Header.ENDED, Header.ASKED_MS]), BYTES), max_size=4
    ).map(tuple),
    offset=st.integers(0, 3),
)
def test_they_agree_at_a_later_step_of_a_chain(
    step_2: StepReader, body: bytes | None, headers: tuple[tuple[str, bytes], ...], offset: int
) -> None:
    topics = Topics(CHAIN, "p", 2)
    record = Record(topics.requests, 0, offset, None, body, headers, 0)
    arrival = step_2.arrival(record)
    with suppress(InferstreamError, DecodeError):
        step_2.read(arrival)
    fact = Audited(topics.of_step(1), steps=2).fact(record)
    assert fact is not None
    if not any(name == Header.ORIGIN for name, _ in headers):
        assert isinstance(fact, EventFact)
        assert (fact.kind, fact.number, fact.identity) == ("hop", 2, arrival.reply_id)


@pytest.fixture(scope="module")
def step_2() -> StepReader:
    with pytest.MonkeyPatch.context() as patch:
        know_both(patch)
        step = steps_of(chains_of(chain_config("p"))[CHAIN], "p")[1]
    return StepReader(step, LIMITS.max_request_bytes, lambda: 0.0, lambda: NOW_S)


@given(first=st.integers(0, 1 << 60), count=st.integers(1, 1 << 31), size=st.integers(0, 1 << 30))
def test_a_batch_that_cannot_be_read_ends_with_its_dead_letter(first: int, count: int, size: int) -> None:
    unread = Unread(first, size, "it is damaged")
    record = Record(TOPICS.requests, 1, first + count - 1, None, None, (), 0, unread)
    asked = AUDITED.fact(record)
    assert isinstance(asked, RequestFact)
    (letter,) = batch_letter(record, unread, TOPICS.dead_letters, NOW_S).messages
    ended = AUDITED.fact(Record(TOPICS.dead_letters, 0, 0, letter.key, letter.value, letter.headers, 0))
    assert isinstance(ended, EventFact)
    assert (ended.kind, ended.identity, asked.requests) == ("letter", asked.identity, count)
