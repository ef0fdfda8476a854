"""Conversion of aiokafka's records."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..base import Headers, Record, Unread


def records_of(fetched: Mapping[tuple[str, int], Iterable[Any]]) -> list[Record]:
    """The records that `AIOKafkaConsumer.getmany` returned."""
    return [
        Record(
            topic,
            partition,
            one.offset,
            one.key,
            one.value,
            _headers(one.headers),
            one.timestamp,
            one.checksum if isinstance(one.checksum, Unread) else None,
        )
        for (topic, partition), records in fetched.items()
        for one in records
    ]


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """With b"" for None: Kafka allows a header without a value."""
    return tuple([(name, value or b"") for name, value in headers]) if headers else ()
