"""A dead letter is its record, byte for byte, with the reason; if it is too large, a notice says what was left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.broker.base import Headers, Message, Record
from inferstream.pipeline.delivery.dead_letters import MAX_ATTEMPT_BYTES, dead_letter
from inferstream.pipeline.errors import DeviceError
from inferstream.schemas.topics import Header

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
