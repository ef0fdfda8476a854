"""Conversion of aiokafka's records, and reading past a record that aiokafka cannot parse."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..base import Headers, Record, TopicPartition

REFETCH_MS: Final = 300

log = logging.getLogger(__name__)


def records_of(fetched: Mapping[tuple[str, int], Iterable[Any]]) -> list[Record]:
    """The records that `AIOKafkaConsumer.getmany` returned."""
    return [
        Record(topic, partition, one.offset, one.key, one.value, _headers(one.headers), one.timestamp)
        for (topic, partition), records in fetched.items()
        for one in records
    ]


async def read_one_by_one(consumer: Any, partitions: Iterable[Any], max_records: int) -> list[Record]:
    """Read on after a UnicodeDecodeError: a record has a header name that is not UTF-8.

    aiokafka then drops the whole fetch. Here that record is returned without key, value and
    headers, so that it is handled like an empty request. Records after it in the same producer
    batch are returned the same way; all others are complete.
    """
    records: list[Record] = []
    for partition in partitions:
        room = max_records - len(records)
        if room > 0 and (consumer.highwater(partition) or 0) > await consumer.position(partition):
            records += await _read_partition(consumer, partition, room)
    return records


async def _read_partition(consumer: Any, partition: Any, max_records: int) -> list[Record]:
    records: list[Record] = []
    try:
        # The error has dropped the fetched records; the first call waits until they are fetched
        # again.
        fetched = await consumer.getmany(partition, timeout_ms=REFETCH_MS, max_records=1)
        while fetched:
            records += records_of(fetched)
            if len(records) >= max_records:
                break
            fetched = await consumer.getmany(partition, timeout_ms=0, max_records=1)
    except UnicodeDecodeError:
        offset = await consumer.position(partition)
        consumer.seek(partition, offset + 1)
        at = TopicPartition(*partition)
        log.warning(
            "Record %s/%s/%s has a header name that is not UTF-8: it is handled as an empty request.",
            *at,
            offset,
        )
        records.append(Record(*at, offset, None, None, (), 0))
    return records


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """With b"" for None: Kafka allows a header without a value."""
    return tuple([(name, value or b"") for name, value in headers]) if headers else ()
