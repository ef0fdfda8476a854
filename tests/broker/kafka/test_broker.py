"""The broker contract on a real Kafka, and tests of what only Kafka does."""

import asyncio

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from confluent_kafka import Producer
from support.broker_contract import BrokerContract, Connect, Trim, take
from support.wire import send_batch, wire_batch, wire_record

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


@pytest.mark.parametrize("group", [True, False])
async def test_header_names_that_are_not_utf8_lose_no_record(kafka: str, unique: str, group: bool) -> None:
    """A worker reads in a group, the auditor without one."""
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        await broker.publish(Message(unique, b"before", partition=0))
        records = [
            wire_record(n, b"%d" % n, b"k", [(b"\xff\xfe" if n == 3 else b"name", b"x")]) for n in range(10)
        ]
        await send_batch(kafka, unique, wire_batch(records))
        for partition in range(2):
            await broker.publish(Message(unique, b"after", partition=partition))
        found = await take(await broker.consume([unique], group=unique if group else None), 13)
    expected = [b"before", *(b"%d" % n for n in range(10)), b"after"]
    assert [record.value for record in found if record.partition == 0] == expected
    assert [record.value for record in found if record.partition == 1] == [b"after"]
    assert {record.headers for record in found if record.key} == {(("name", b"x"),), (("\\xff\\xfe", b"x"),)}


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_batch_that_is_too_large_unpacked_is_named_with_its_offsets(
    kafka: str, unique: str, codec: str
) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=kafka, max_batch_bytes=100_000)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        await broker.publish(Message(unique, b"before"))
        await send_batch(
            kafka, unique, wire_batch([wire_record(n, b"\0" * 300_000) for n in range(3)], codec)
        )
        await broker.publish(Message(unique, b"after"))
        reader = await broker.consume([unique], group=unique)
        before, unread, after = await take(reader, 3)
        assert reader.positions() == {TopicPartition(unique, 0): 5}
    assert (before.value, after.value) == (b"before", b"after")
    assert unread.unread is not None
    assert (unread.unread.first_offset, unread.offset) == (1, 3)


@pytest.mark.parametrize(
    "settings",
    [
        {"bootstrap": "127.0.0.1:1", "username": None, "password": None},
        {"security_protocol": "SASL_PLAINTEXT"},
    ],
)
async def test_a_failed_connection_names_its_three_possible_causes(
    kafka: str, settings: dict[str, str | None]
) -> None:
    config = KafkaConfig(**({"bootstrap": kafka, "username": "u", "password": "p"} | settings))
    with pytest.raises(BrokerError, match=r"no broker listens.*security protocol.*password"):
        async with KafkaBroker(config):
            pass
