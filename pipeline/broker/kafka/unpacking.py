"""Decompression of record batches with a bound: 900 MB of zeros are 28 kB of zstd on a topic.

aiokafka's own functions unpack all of a batch at once, whatever its size.
"""

import struct
from collections.abc import Callable, Iterator
from mmap import mmap
from typing import Final

import cramjam

XERIAL: Final = b"\x82SNAPPY\x00"
XERIAL_HEADER_BYTES: Final = 16
FULL: Final = ("whole buffer", "smaller than required")
"""What cramjam says of a buffer that is too small: streams, then snappy."""


class TooManyBytes(ValueError):
    """The content is larger than the limit."""


def unpack(codec: int, packed: bytes, prefix: bytes, limit: int) -> bytes:
    """``prefix`` and after it the content of ``packed``, which may have ``limit`` bytes.

    ``codec`` is Kafka's number of it, see `UNPACKERS`. Takes at most twice the limit of memory.
    Raises TooManyBytes; ValueError for damaged content and for an unknown codec.
    """
    if codec not in UNPACKERS:
        raise ValueError(f"there is no compression with the number {codec}")
    # A mapping takes memory only for the pages that are written.
    with mmap(-1, len(prefix) + limit + 1) as room, memoryview(room) as view:
        view[: len(prefix)] = prefix
        with view[len(prefix) : len(prefix) + limit] as free:
            try:
                written = UNPACKERS[codec](packed, free)
            except (cramjam.DecompressionError, struct.error) as error:
                kind = TooManyBytes if any(said in str(error) for said in FULL) else ValueError
                raise kind(str(error)) from error
        return bytes(view[: len(prefix) + written])


def _snappy(packed: bytes, free: memoryview) -> int:
    written = 0
    for block in _snappy_blocks(packed):
        with free[written:] as rest:
            written += cramjam.snappy.decompress_raw_into(block, rest)
    return written


def _snappy_blocks(packed: bytes) -> Iterator[bytes]:
    """The blocks of the framing of Java's clients; the whole as one block, as librdkafka writes it."""
    if not packed.startswith(XERIAL):
        yield packed
        return
    position = XERIAL_HEADER_BYTES
    while position < len(packed):
        (size,) = struct.unpack_from(">i", packed, position)
        position += 4
        if not 0 < size <= len(packed) - position:
            raise ValueError("a block of snappy has a wrong length")
        yield packed[position : position + size]
        position += size


UNPACKERS: Final[dict[int, Callable[[bytes, memoryview], int]]] = {
    1: cramjam.gzip.decompress_into,
    2: _snappy,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}
