"""Dead letters: the record as it came, byte for byte, and in headers why it could not be answered."""

from ...schemas.topics import Header, origin
from ..broker.base import Message, Record
from ..errors import InferstreamError


def dead_letter(record: Record, topic: str, error: InferstreamError, failed_at: float) -> Message:
    """The record of a dead letter. ``failed_at`` is Unix time in seconds.

    Body, key and headers are the record's own, so that a replay is the identical request.
    """
    reason = (
        (Header.ERROR_CODE, error.code.encode()),
        (Header.ERROR_MESSAGE, str(error).encode()),
        (Header.FAILED_AT_MS, b"%d" % round(failed_at * 1e3)),
    )
    first = () if any(name == Header.ORIGIN for name, _ in record.headers) else _origin(record)
    return Message(topic, record.value or b"", record.key, (*record.headers, *first, *reason))


def _origin(record: Record) -> tuple[tuple[str, bytes]]:
    return ((Header.ORIGIN, origin(record.topic, record.partition, record.offset).encode()),)
