"""What other clients of the same Kafka do: transactions, compressed bombs, deleted topics.

They use aiokafka itself, since the pipeline's own broker does none of this.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice
from typing import Any, Final

import cramjam
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.record.util import calc_crc32c, encode_varint

from ....schemas.topics import Topics
from ..load.requests import Planned

BOMB_RECORDS: Final = 9
BOMB_RECORD_BYTES: Final = 100_000_000
MEGABYTE: Final = bytes(1_000_000)
ZSTD: Final = 4
"""Its number in the attributes of a batch."""

TRANSACTION_REQUESTS: Final = 5
OPEN_S: Final = 0.02
"""Others on these partitions wait while a transaction is open, so it is short."""

IN_TRANSACTION: Final = "in_transaction"
"""The kind of good requests in transactions. They cannot be read before the commit, so they measure no speed."""

COMMIT_S: Final = 5.0
POLL_S: Final = 0.2


class TransactionLoad:
    """Sends requests in transactions, a few in each; every second one is aborted."""

    def __init__(self, bootstrap: str, topics: Topics, sent: Callable[[Planned], None]) -> None:
        """``sent`` is called with each request of a transaction that will be committed."""
        self._bootstrap = bootstrap
        self._topics = topics
        self._sent = sent

    async def send(self, plans: Sequence[Iterator[Planned]], per_s: float, over: Callable[[], bool]) -> None:
        """Send ``per_s`` transactions a second until ``over()``: those of the first plan are committed."""
        producer: Any = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, transactional_id="inferstream-chaos"
        )
        async with producer:
            for number in count():
                if over():
                    return
                aborts = number % 2
                await producer.begin_transaction()
                for planned in islice(plans[aborts], TRANSACTION_REQUESTS):
                    if not aborts:
                        self._sent(planned._replace(kind=IN_TRANSACTION))
                    one = planned.message(self._topics, time.time())
                    await producer.send(one.topic, one.value, one.key, headers=list(one.headers))
                await producer.flush()
                await asyncio.sleep(OPEN_S)
                await (producer.abort_transaction() if aborts else producer.commit_transaction())
                await asyncio.sleep(1 / per_s)


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def delete_topics(bootstrap: str, names: Collection[str]) -> None:
    async with _admin(bootstrap) as admin:
        await admin.delete_topics(list(names))


async def final_lag(bootstrap: str, group: str, topic: str, partitions: int) -> int:
    """The records that the group has not committed, after some time for its last commit."""
    end = time.monotonic() + COMMIT_S
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
        while True:
            lag = sum([offset - (await consumer.committed(at) or 0) for at, offset in ends.items()])
            if lag == 0 or time.monotonic() > end:
                return int(lag)
            await asyncio.sleep(POLL_S)


async def send_batch(bootstrap: str, topic: str, partition: int, batch: bytes) -> None:
    """Publish a batch of records as it is."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        builder = producer.create_batch()
        builder.append(timestamp=1, key=None, value=b"", headers=[])
        builder._build()
        builder._buffer = batch
        await (await producer.send_batch(builder, topic, partition=partition))


def bomb(records: int = BOMB_RECORDS, record_bytes: int = BOMB_RECORD_BYTES) -> bytes:
    """A valid batch of records of zeros: 900 MB are 28 kB of zstd. ``record_bytes``: whole megabytes."""
    packed = cramjam.zstd.Compressor()
    for number in range(records):
        # attributes, time, number in the batch, no key, length of the value
        begin = b"\0\0" + _varint(number) + _varint(-1) + _varint(record_bytes)
        packed.compress(_varint(len(begin) + record_bytes + 1) + begin)
        for _ in range(record_bytes // len(MEGABYTE)):
            packed.compress(MEGABYTE)
        packed.compress(b"\0")  # no headers
    now_ms = time.time_ns() // 1_000_000
    content = struct.pack(">hiqqqhii", ZSTD, records - 1, now_ms, now_ms, -1, -1, -1, records)
    content += bytes(packed.finish())
    # base offset, length, leader epoch, version, checksum
    return struct.pack(">qiibI", 0, 9 + len(content), 0, 2, calc_crc32c(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)
