"""Dead letters: the record as it came, byte for byte, and in headers why it could not be answered."""

from typing import Final

from ...schemas.codec import DecodeError
from ...schemas.topics import Header, origin
from ..broker.base import Headers, Message, Record
from ..errors import InferstreamError
from .outcome import Outcome
from .replies import header_map, sentence

MAX_TRIED_BYTES: Final = 10_000
"""Of a header that tells of the attempts: many times what our own history needs."""


def dead_letter(
    record: Record,
    topic: str,
    error: InferstreamError | DecodeError,
    failed_at: float,
    *,
    worker: str = "",
    version: str = "",
) -> Outcome:
    """The dead letter of a record. ``failed_at`` is Unix time in seconds, ``version`` that of the model.

    Body, key and headers are the record's own, so that a replay is the identical request. Where that is too large
    together with the reason, the letter says where the record stands, how large the body is, and how it was tried.
    """
    reason = (
        (Header.ERROR_CODE, error.code.encode()),
        (Header.ERROR_MESSAGE, sentence(error).encode()),
        (Header.FAILED_AT_MS, b"%d" % round(failed_at * 1e3)),
        *(
            (name, text.encode())
            for name, text in ((Header.WORKER, worker), (Header.VERSION, version))
            if text
        ),
    )
    first = () if any(name == Header.ORIGIN for name, _ in record.headers) else _origin(record)
    letter = Message(topic, record.value or b"", record.key, (*record.headers, *first, *reason))
    left_out = (Header.LEFT_OUT, b"%d" % len(record.value or b""))
    notice = Message(topic, b"", None, (*_origin(record), *_tried(record), *reason, left_out))
    return Outcome((letter,), lambda: Outcome((notice,)))


def _tried(record: Record) -> Headers:
    # Anybody may send these headers, and a notice must fit.
    sent = header_map(record)
    return tuple(
        (name, sent[name])
        for name in (Header.ATTEMPT, Header.HISTORY)
        if name in sent and len(sent[name]) <= MAX_TRIED_BYTES
    )


def _origin(record: Record) -> Headers:
    return ((Header.ORIGIN, origin(record.topic, record.partition, record.offset).encode()),)
