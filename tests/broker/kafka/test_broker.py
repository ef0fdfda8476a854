"""The broker contract on a real Kafka, and tests of what only Kafka does."""

import asyncio
import struct

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.record.util import calc_crc32c
from confluent_kafka import Producer
from support.broker_contract import BrokerContract, Connect, Trim, take

from inferstream.pipeline.broker.base import Broker, Message, TopicPartition, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import BrokerError, ReplyTooLarge

pytestmark = pytest.mark.kafka


class TestContractOnKafka(BrokerContract):
    @pytest.fixture
    def connect(self, kafka: str) -> Connect:
        return lambda: KafkaBroker(KafkaConfig(bootstrap=kafka, heartbeat_ms=100))

    @pytest.fixture
    def trim(self, kafka: str) -> Trim:
        async def delete(_: Broker, offsets: dict[TopicPartition, int]) -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
            await admin.start()
            await admin.delete_records(
                {KafkaPartition(*at): RecordsToDelete(offset) for at, offset in offsets.items()}
            )
            await admin.close()

        return delete


async def test_only_records_above_the_limit_of_their_topic_fail(kafka: str, unique: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(unique, 2, 1, topic_configs={"max.message.bytes": "20000"})])
    await admin.close()
    large = {50, 333, 334}
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        # Once before, because Kafka detects a gap in the sequence only if the partition has records
        # of the producer.
        await asyncio.gather(*(broker.publish(Message(unique, b"-1", partition=part)) for part in range(2)))
        values = [b"%05d" % number + b"x" * (30_000 if number in large else 200) for number in range(600)]
        futures = [broker.publish(Message(unique, value, partition=n % 2)) for n, value in enumerate(values)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert {n for n, result in enumerate(results) if isinstance(result, ReplyTooLarge)} == large
        assert all(result is None for n, result in enumerate(results) if n not in large)
        with pytest.raises(ReplyTooLarge, match=r"max\.message\.bytes and restart the processes that write"):
            await broker.publish(Message(unique, b"x" * 30_000))
        with pytest.raises(ReplyTooLarge, match="larger than the maximum of 1048588 bytes: make it smaller"):
            await broker.publish(Message(unique, b"x" * 1_100_000))
        found = await take(await broker.consume([unique]), 2 + 600 - len(large))
    for part in range(2):
        numbers = [int((record.value or b"")[:5]) for record in found if record.partition == part]
        assert numbers == [-1, *(n for n in range(part, 600, 2) if n not in large)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_records_that_a_foreign_producer_compresses_are_read(
    kafka: str, unique: str, codec: str
) -> None:
    body = b'{"text": "%s"}' % (b"I was charged twice. " * 100)
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        producer = Producer({"bootstrap.servers": kafka, "compression.type": codec})
        producer.produce(unique, body)
        assert await asyncio.to_thread(producer.flush, 30) == 0
        found = await take(await broker.consume([unique], group=unique), 1)
    assert [record.value for record in found] == [body]


async def publish_unreadable(kafka: str, topic: str) -> None:
    """A batch of two records, the second with a header name that is not UTF-8, as kcat can send."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    batch = producer.create_batch()
    batch.append(timestamp=1, key=None, value=b"first of its batch", headers=[])
    batch.append(timestamp=1, key=None, value=b"unreadable", headers=[("NAME", b"1")])
    content = bytearray(batch._build().replace(b"NAME", b"\xff\xfe\xff\xfe"))
    struct.pack_into(">I", content, 17, calc_crc32c(bytes(content[21:])))
    batch._buffer = bytes(content)
    await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()


async def test_a_record_that_aiokafka_cannot_parse_is_returned_empty(kafka: str, unique: str) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        await broker.publish(Message(unique, b"before", partition=0))
        await publish_unreadable(kafka, unique)
        for partition in range(2):
            await broker.publish(Message(unique, b"after", partition=partition))
        found = await take(await broker.consume([unique]), 5)
    assert [record.value for record in found if record.partition == 0] == [
        b"before",
        b"first of its batch",
        None,
        b"after",
    ]
    assert [record.value for record in found if record.partition == 1] == [b"after"]


@pytest.mark.parametrize("settings", [{"bootstrap": "127.0.0.1:1"}, {"security_protocol": "SASL_PLAINTEXT"}])
async def test_a_failed_connection_names_its_three_possible_causes(
    kafka: str, settings: dict[str, str]
) -> None:
    config = KafkaConfig(**({"bootstrap": kafka, "username": "u", "password": "p"} | settings))
    with pytest.raises(BrokerError, match=r"no broker listens.*security protocol.*password"):
        async with KafkaBroker(config):
            pass
