"""The partition of a key, chosen as by Kafka's Java client, librdkafka (murmur2) and aiokafka."""

from functools import lru_cache
from struct import Struct as Layout
from typing import Final

SEED: Final = 0x9747B28C
MULTIPLIER: Final = 0x5BD1E995
WORD: Final = 0xFFFFFFFF
CACHED_KEYS: Final = 16_384


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


# Cached: requests of one stream, and repeated texts, share a key, and a hash in Python costs about
# 3 µs.
@lru_cache(maxsize=CACHED_KEYS)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition for records with this key, from 0 to ``partitions - 1``."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
