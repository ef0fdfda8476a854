"""From aiokafka's records to ours, and the way around one that aiokafka cannot read."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..base import Headers, Record, TopicPartition

REFETCH_MS: Final = 300

log = logging.getLogger(__name__)


def records_of(fetched: Mapping[tuple[str, int], Iterable[Any]]) -> list[Record]:
    """The records that `AIOKafkaConsumer.getmany` returned."""
    return [
        Record(topic, partition, of.offset, of.key, of.value, _headers(of.headers), of.timestamp)
        for (topic, partition), records in fetched.items()
        for of in records
    ]


async def read_singly(consumer: Any, partitions: Iterable[Any], max_records: int) -> list[Record]:
    """Read on after a UnicodeDecodeError: aiokafka gives up a whole fetch for one header name that is not UTF-8.

    That record comes without key, value and headers, so that it ends as an empty request does and the others live on;
    only those behind it in the same batch of its producer share its fate.
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
        # What was fetched is lost with the error; the first call waits until it is there again.
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
            "Record %s/%s/%s has a header name that is not UTF-8: it is taken for an empty one.", *at, offset
        )
        records.append(Record(*at, offset, None, None, (), 0))
    return records


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    """Kafka allows a header without a value."""
    return tuple([(name, value or b"") for name, value in headers]) if headers else ()
