"""Dead letters: the record as it came, byte for byte; headers say why it was not answered."""

from typing import Final

from ...schemas.codec import DecodeError
from ...schemas.topics import Header, origin
from ..broker.base import Headers, Message, Record, Unread
from ..errors import InferstreamError, NotWritable, UnreadableBatch
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
    release: str = "",
) -> Outcome:
    """The dead letter of a record. ``failed_at_s`` is Unix time, ``version`` that of the model.

    A replay is answered by the ``release`` that took the record, as long as that is on trial.

    Body, key and headers are the record's own, so that a replay is the identical request. If the
    broker refuses its size, a notice takes its place: origin, size of the body, attempts.
    """
    reason = _reason(error, failed_at_s, worker, version, release)
    first = () if any(name == Header.ORIGIN for name, _ in record.headers) else _origin(record)
    letter = Message(topic, record.value or b"", record.key, (*record.headers, *first, *reason))
    return _fitting(letter, record, reason)


def _fitting(letter: Message, record: Record, reason: Headers) -> Outcome:
    """The letter; a notice if it is too large; with a key if its topic takes no record without one."""

    def shorter() -> Outcome:
        notice = _notice(record, letter.topic, reason)
        return Outcome((notice,), if_not_writable=lambda _: Outcome((_keyed(notice, record),)))

    def keyed(_: NotWritable) -> Outcome:
        return _fitting(_keyed(letter, record), record, reason)

    return Outcome((letter,), shorter, if_not_writable=None if letter.key is not None else keyed)


def _keyed(letter: Message, record: Record) -> Message:
    """A letter that a compacted topic takes: such a topic keeps only the last record of a key."""
    if letter.key is not None:
        return letter
    headers = (*letter.headers, (Header.KEYLESS, b"1"))
    place = origin(record.topic, record.partition, record.offset)
    return letter._replace(key=place.encode(), headers=headers)


def batch_letter(record: Record, unread: Unread, topic: str, failed_at_s: float, worker: str = "") -> Outcome:
    """The dead letter of a batch that cannot be read: one for all of its requests, without their bodies."""
    first, last = unread.first_offset, record.offset
    at = f"{record.topic}/{record.partition}"
    error = UnreadableBatch(
        f"The batch with the requests {at}/{first} to {at}/{last} cannot be read, since {unread.reason}: "
        "send them again in smaller batches."
    )
    headers = (
        (Header.ORIGIN, origin(record.topic, record.partition, first).encode()),
        (Header.LAST_OFFSET, b"%d" % last),
        *_reason(error, failed_at_s, worker),
        (Header.LEFT_OUT, b"%d" % unread.size),
    )
    return Outcome((Message(topic, b"", origin(record.topic, record.partition, first).encode(), headers),))


def _notice(record: Record, topic: str, reason: Headers) -> Message:
    left_out = (Header.LEFT_OUT, b"%d" % len(record.value or b""))
    return Message(topic, b"", None, (*_origin(record), *_attempts(record), *reason, left_out))


def _reason(
    error: InferstreamError | DecodeError,
    failed_at_s: float,
    worker: str,
    version: str = "",
    release: str = "",
) -> Headers:
    stamps = ((Header.WORKER, worker), (Header.VERSION, version), (Header.RELEASE, release))
    return (
        (Header.ERROR_CODE, error.code.encode()),
        (Header.ERROR_MESSAGE, short_message(error).encode()),
        (Header.FAILED_AT_MS, b"%d" % round(failed_at_s * 1e3)),
        *((name, text.encode()) for name, text in stamps if text),
    )


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
