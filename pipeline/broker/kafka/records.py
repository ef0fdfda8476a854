"""Conversion of aiokafka's records."""

from collections.abc import Sequence
from typing import Any

from ..base import Headers, Record, Unread


def record_of(at: tuple[str, int], one: Any) -> Record:
    """A record of the partition ``at``, as it is parsed. In place of aiokafka's own conversion."""
    topic, partition = at
    checksum = one.checksum
    headers = one.headers
    return Record(
        topic,
        partition,
        one.offset,
        one.key,
        one.value,
        _headers(headers) if headers else (),
        one.timestamp,
        checksum if isinstance(checksum, Unread) else None,
    )


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """With b"" for None: Kafka allows a header without a value."""
    return tuple([(name, value or b"") for name, value in headers])
