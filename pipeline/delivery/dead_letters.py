"""Dead letters: the record as it came, byte for byte; headers say why it was not answered."""

from typing import Final

from ...schemas.codec import DecodeError
from ...schemas.topics import Header, origin
from ..broker.base import Headers, Message, Record
from ..errors import InferstreamError
from .arrival import header_map
from .outcome import Outcome
from .replies import short_message

MAX_ATTEMPT_BYTES: Final = 10_000
"""Bytes of one header on the attempts in a notice: many times what our own history needs."""


def dead_letter(
    record: Record,
    topic: str,
    error: InferstreamError | DecodeError,
    failed_at_s: float,
    *,
    worker: str = "",
    version: str = "",
) -> Outcome:
    """The dead letter of a record. ``failed_at_s`` is Unix time, ``version`` that of the model.

    Body, key and headers are the record's own, so that a replay is the identical request. If the
    broker refuses its size, a notice takes its place: origin, size of the body, attempts.
    """
    reason = (
        (Header.ERROR_CODE, error.code.encode()),
        (Header.ERROR_MESSAGE, short_message(error).encode()),
        (Header.FAILED_AT_MS, b"%d" % round(failed_at_s * 1e3)),
        *(
            (name, text.encode())
            for name, text in ((Header.WORKER, worker), (Header.VERSION, version))
            if text
        ),
    )
    first = () if any(name == Header.ORIGIN for name, _ in record.headers) else _origin(record)
    letter = Message(topic, record.value or b"", record.key, (*record.headers, *first, *reason))
    return Outcome((letter,), lambda: Outcome((_notice(record, topic, reason),)))


def _notice(record: Record, topic: str, reason: Headers) -> Message:
    left_out = (Header.LEFT_OUT, b"%d" % len(record.value or b""))
    return Message(topic, b"", None, (*_origin(record), *_attempts(record), *reason, left_out))


def _attempts(record: Record) -> Headers:
    """The headers on the attempts. They are untrusted: oversized ones are left out."""
    headers = header_map(record)
    return tuple(
        (name, headers[name])
        for name in (Header.ATTEMPT, Header.HISTORY)
        if name in headers and len(headers[name]) <= MAX_ATTEMPT_BYTES
    )


def _origin(record: Record) -> Headers:
    return ((Header.ORIGIN, origin(record.topic, record.partition, record.offset).encode()),)
