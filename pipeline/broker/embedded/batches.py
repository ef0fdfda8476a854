"""Record batches: as in Kafka, records are stored by the batch, many to a row of the database."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ..base import Headers, Record, TopicPartition

Content = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of one record."""

BATCH_BYTES: Final = 256 * 1024
BATCH_RECORDS: Final = 1_024

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Content])


def size_of(content: Content) -> int:
    """The bytes of a record without its framing."""
    key, value, headers = content
    size = (len(key) if key else 0) + (len(value) if value else 0)
    for name, header in headers:
        size += len(name) + len(header)
    return size


def split(contents: Iterable[Content]) -> Iterator[list[Content]]:
    """Batches small enough that a reader holds few of them in memory; a record larger than that stands alone."""
    batch: list[Content] = []
    room = BATCH_BYTES
    for content in contents:
        room -= size_of(content)
        if batch and (room < 0 or len(batch) == BATCH_RECORDS):
            yield batch
            batch, room = [], BATCH_BYTES - size_of(content)
        batch.append(content)
    if batch:
        yield batch


def encode(batch: list[Content]) -> bytes:
    return _encoder.encode(batch)


def decode(blob: bytes, at: TopicPartition, base_offset: int, timestamp_ms: int) -> list[Record]:
    """The records of a batch whose first one has ``base_offset``."""
    topic, partition = at
    return [
        Record(topic, partition, offset, key, value, headers, timestamp_ms)
        for offset, (key, value, headers) in enumerate(_decoder.decode(blob), base_offset)
    ]
