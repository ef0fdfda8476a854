"""Record batches: as in Kafka, many records are stored together, here in one row of the database."""

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
    """The bytes of key, value and headers, without the encoding around them."""
    key, value, headers = content
    size = (len(key) if key else 0) + (len(value) if value else 0)
    for name, header in headers:
        size += len(name) + len(header)
    return size


def split(contents: Iterable[Content]) -> Iterator[list[Content]]:
    """Batches of at most BATCH_BYTES and BATCH_RECORDS; a larger record gets a batch of its own."""
    batch: list[Content] = []
    room = BATCH_BYTES
    for content in contents:
        room -= size_of(content)
        if batch and (room < 0 or len(batch) == BATCH_RECORDS):
            yield batch
            batch = []
            room = BATCH_BYTES - size_of(content)
        batch.append(content)
    if batch:
        yield batch


def encode(batch: list[Content]) -> bytes:
    return _encoder.encode(batch)


def decode(blob: bytes, at: TopicPartition, base_offset: int, timestamp_ms: int) -> list[Record]:
    """The records of a batch whose first record has ``base_offset``."""
    topic, partition = at
    return [
        Record(topic, partition, offset, key, value, headers, timestamp_ms)
        for offset, (key, value, headers) in enumerate(_decoder.decode(blob), base_offset)
    ]
