"""Which partition a key belongs to: the same answer as Kafka's Java client, librdkafka (murmur2) and aiokafka give."""

from functools import lru_cache
from struct import Struct as Layout
from typing import Final

SEED: Final = 0x9747B28C
MULTIPLIER: Final = 0x5BD1E995
WORD: Final = 0xFFFFFFFF
KEYS_REMEMBERED: Final = 16_384


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 of ``data``, as `org.apache.kafka.common.utils.Utils.murmur2` computes it."""
    count, rest = divmod(len(data), 4)
    mixed = SEED ^ len(data)
    for word in Layout(f"<{count}I").unpack_from(data):
        word = word * MULTIPLIER & WORD
        mixed = mixed * MULTIPLIER & WORD ^ (word ^ word >> 24) * MULTIPLIER & WORD
    if rest:
        mixed = (mixed ^ int.from_bytes(data[-rest:], "little")) * MULTIPLIER & WORD
    mixed = (mixed ^ mixed >> 13) * MULTIPLIER & WORD
    return mixed ^ mixed >> 15


# Requests of one stream and repeats of one text carry one key, and a hash in Python costs about 3 µs.
@lru_cache(maxsize=KEYS_REMEMBERED)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition, of 0 to ``partitions - 1``, that records with this key go to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
