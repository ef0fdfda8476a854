"""A dead letter is its record, byte for byte, with the reason; if it is too large, a notice says what was left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from inferstream.pipeline.broker.base import Headers, Message, Record, Unread
from inferstream.pipeline.config import BreakerConfig, RetryConfig
from inferstream.pipeline.delivery.breaker import Breaker
from inferstream.pipeline.delivery.dead_letters import MAX_ATTEMPT_BYTES, dead_letter
from inferstream.pipeline.delivery.failures import FailurePolicy, WorkerStamp
from inferstream.pipeline.delivery.outcome import Outcome
from inferstream.pipeline.delivery.replies import ReplyBuilder
from inferstream.pipeline.delivery.retry_returner import RetryReturner
from inferstream.pipeline.errors import DeviceError, NotWritable, ReplyTooLarge, UnreadableBatch
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.topics import Header, Topics

TOPIC = "dead-letters"
ERROR = DeviceError("The model cannot run this input.")
REASON = ((Header.ERROR_CODE, b"device_error"), (Header.ERROR_MESSAGE, str(ERROR).encode()))
AT_S, FAILED_AT = 1_700_000_000.1234, (Header.FAILED_AT_MS, b"1700000000123")
HERE = (Header.ORIGIN, b"requests/3/41")

names = st.sampled_from([Header.ORIGIN, Header.ATTEMPT, Header.HISTORY, "else", ""])
headers = st.lists(st.tuples(names, st.binary(min_size=1, max_size=8)), max_size=5).map(tuple)
bodies = st.none() | st.binary(max_size=20)


def a_record(body: bytes | None = b"body", headers: Headers = (), key: bytes | None = b"key") -> Record:
    return Record("requests", 3, 41, key, body, headers, 0)


def letter_and_notice(record: Record, worker: str = "", version: str = "") -> tuple[Message, Message]:
    outcome = dead_letter(record, TOPIC, ERROR, AT_S, worker=worker, version=version)
    assert outcome.then is None
    assert outcome.if_too_large is not None
    instead = outcome.if_too_large()
    assert (instead.if_too_large, instead.then) == (None, None)
    (letter,), (notice,) = outcome.messages, instead.messages
    return letter, notice


@given(
    bodies, headers, st.none() | st.binary(max_size=5), st.sampled_from(["", "w"]), st.sampled_from(["", "2"])
)
def test_a_letter_is_its_record_and_the_reason_behind_it(
    body: bytes | None, headers: Headers, key: bytes | None, worker: str, version: str
) -> None:
    letter, notice = letter_and_notice(a_record(body, headers, key), worker, version)
    known = [(Header.WORKER, worker.encode())] * bool(worker) + [(Header.VERSION, version.encode())] * bool(
        version
    )
    reason = (*REASON, FAILED_AT, *known)
    origin = () if Header.ORIGIN in dict(headers) else (HERE,)
    assert letter == Message(TOPIC, body or b"", key, (*headers, *origin, *reason))
    last = dict(headers)
    attempts = tuple((name, last[name]) for name in (Header.ATTEMPT, Header.HISTORY) if name in last)
    left_out = (Header.LEFT_OUT, b"%d" % len(body or b""))
    assert notice == Message(TOPIC, b"", None, (HERE, *attempts, *reason, left_out))


@pytest.mark.parametrize("name", [Header.ATTEMPT, Header.HISTORY])
def test_a_notice_leaves_out_a_header_on_the_attempts_that_is_larger_than_ours_can_be(name: str) -> None:
    for size in (MAX_ATTEMPT_BYTES, MAX_ATTEMPT_BYTES + 1):
        _, notice = letter_and_notice(a_record(headers=((name, b"x" * size),)))
        assert (name in dict(notice.headers)) == (size == MAX_ATTEMPT_BYTES)


def test_a_letter_without_a_key_gets_one_where_its_topic_takes_no_other() -> None:
    """A topic that is compacted keeps only the last record of a key, so the key is the record's place."""
    refused = NotWritable("A compacted topic takes no record without a key.")
    keyless = dead_letter(a_record(key=None), TOPIC, ERROR, AT_S)
    assert keyless.mends(refused)
    keyed = keyless.instead(refused)
    assert keyed is not None
    (first,), (letter,) = keyless.messages, keyed.messages
    assert letter == first._replace(key=HERE[1], headers=(*first.headers, (Header.KEYLESS, b"1")))
    assert not keyed.mends(refused)
    assert keyed.instead(refused) is None, "a topic that takes neither ends the worker"
    with_key = dead_letter(a_record(), TOPIC, ERROR, AT_S)
    assert with_key.instead(refused) is None
    for outcome in (keyless, keyed, with_key):
        notice = outcome.instead(ReplyTooLarge("too large"))
        assert notice is not None
        assert notice.messages[0].key is None
        assert notice.instead(ReplyTooLarge("too large")) is None
        small = notice.instead(refused)
        assert small is not None
        (plain,), (placed,) = notice.messages, small.messages
        assert placed == plain._replace(key=HERE[1], headers=(*plain.headers, (Header.KEYLESS, b"1")))


def test_what_follows_an_outcome_also_follows_what_replaces_it() -> None:
    """The dead letter behind a Failure is not lost with it."""
    letter = Outcome((Message("letters", b"letter"),))
    own = Outcome((Message("letters", b"own"),))
    small = Outcome((Message("replies", b"small"),))
    gone, large = NotWritable("gone"), ReplyTooLarge("too large")
    failure = Outcome((Message("replies", b"large"),), lambda: small, letter, lambda _: own)
    assert failure.instead(large) == replace(small, then=letter)
    assert failure.instead(gone) == letter, "it has a dead letter already"
    assert replace(failure, then=None).instead(gone) == own
    with_own = Outcome((Message("replies", b"retry"),), lambda: replace(small, then=own), letter)
    assert with_own.instead(large) == replace(small, then=own)
    for outcome, error in ((letter, large), (letter, gone), (failure, DeviceError("no"))):
        assert (outcome.mends(error), outcome.instead(error)) == (False, None)


def test_a_batch_that_cannot_be_read_is_one_letter_that_names_its_requests() -> None:
    record = a_record(None, key=None)._replace(unread=Unread(17, 28_000, "its bomb is too large"))
    policy = FailurePolicy(
        Topics("echo"),
        RetryConfig(),
        ReplyBuilder("echo", 1_000),
        metrics := WorkerMetrics().of_task("echo"),
        Breaker(BreakerConfig(), lambda: 0.0),
        WorkerStamp("w", lambda: AT_S),
    )
    for outcome, worker in (
        (policy.unreadable(record, record.unread or Unread(0, 0, "")), ((Header.WORKER, b"w"),)),
        (RetryReturner(Topics("echo"), 30, lambda: AT_S).handle(record), ()),
    ):
        assert isinstance(outcome, Outcome)
        (letter,) = outcome.messages
        assert letter._replace(headers=()) == Message("inferstream.echo.dead-letters", b"", b"requests/3/17")
        headers = dict(letter.headers)
        assert "requests/3/17 to requests/3/41" in headers.pop(Header.ERROR_MESSAGE).decode()
        assert headers == {
            Header.ORIGIN: b"requests/3/17",
            Header.LAST_OFFSET: b"41",
            Header.ERROR_CODE: UnreadableBatch.code.encode(),
            Header.FAILED_AT_MS: FAILED_AT[1],
            Header.LEFT_OUT: b"28000",
            **dict(worker),
        }
    assert metrics.failed_requests == 1
