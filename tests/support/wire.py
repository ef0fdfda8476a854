"""Record batches byte by byte, as a foreign or hostile producer may send them."""

import struct
import zlib
from collections.abc import Sequence

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.codec import lz4_encode
from aiokafka.record.util import calc_crc32c, encode_varint

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
Field = tuple[bytes, bytes | None]


def varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def field(value: bytes | None) -> bytes:
    return varint(-1) if value is None else varint(len(value)) + value


def wire_record(
    number: int, value: bytes | None, key: bytes | None = None, headers: Sequence[Field] = ()
) -> bytes:
    """A record with this number in its batch; header names are bytes."""
    body = b"\0" + varint(0) + varint(number) + field(key) + field(value) + varint(len(headers))
    body += b"".join(field(name) + field(content) for name, content in headers)
    return varint(len(body)) + body


def wire_batch(
    records: Sequence[bytes],
    codec: str = "none",
    *,
    packed: bytes | None = None,
    offset: int = 0,
    count: int = 0,
) -> bytes:
    """A batch of version 2. ``packed`` replaces what the records become."""
    content = pack(codec, b"".join(records)) if packed is None else packed
    count = count or len(records)
    fields = struct.pack(
        ">hiqqqhii", CODECS[codec], count - 1, 1_700_000_000_000, 1_700_000_000_000, -1, -1, -1, count
    )
    after_crc = fields + content
    head = struct.pack(">qiibI", offset, 4 + 1 + 4 + len(after_crc), 0, 2, calc_crc32c(after_crc))
    return head + after_crc


def legacy_message(value: bytes, codec: str = "none", *, magic: int = 1, offset: int = 0) -> bytes:
    """A message of version 0 or 1."""
    time = struct.pack(">q", 1_700_000_000_000) if magic else b""
    body = (
        struct.pack(">bb", magic, CODECS[codec])
        + time
        + struct.pack(">i", -1)
        + struct.pack(">i", len(value))
        + value
    )
    return struct.pack(">qiI", offset, 4 + len(body), zlib.crc32(body)) + body


def pack(codec: str, content: bytes) -> bytes:
    match codec:
        case "none":
            return content
        case "snappy":
            return bytes(cramjam.snappy.compress_raw(content))
        case "lz4":
            return bytes(lz4_encode(content))  # blocks that are not linked, as Kafka demands; no content size
        case _:
            return bytes(getattr(cramjam, codec).compress(content))


def xerial(content: bytes, block: int = 32 * 1024) -> bytes:
    """Snappy in the framing of Java's clients."""
    blocks = [
        bytes(cramjam.snappy.compress_raw(content[at : at + block])) for at in range(0, len(content), block)
    ]
    return (
        b"\x82SNAPPY\0"
        + struct.pack(">ii", 1, 1)
        + b"".join(struct.pack(">i", len(one)) + one for one in blocks)
    )


async def send_batch(bootstrap: str, topic: str, content: bytes, partition: int = 0) -> None:
    """Publish a batch as it is."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        batch = producer.create_batch()
        batch.append(timestamp=1, key=None, value=b"", headers=[])
        batch._build()
        batch._buffer = content
        await (await producer.send_batch(batch, topic, partition=partition))
