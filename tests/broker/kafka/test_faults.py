"""What becomes of us when Kafka breaks: on a broker of one's own, which each test may end."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from support.broker_contract import take

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import BrokerError
from inferstream.pipeline.kafka_local.cluster import LocalKafka

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("kafka-own"), port=0) as kafka:
        yield kafka


@pytest.fixture
def frail_kafka(own_kafka: LocalKafka) -> Iterator[LocalKafka]:
    """A broker that the test may end or freeze."""
    yield own_kafka
    own_kafka.resume(1)
    if not own_kafka.running():
        own_kafka.restart(1)


@pytest.mark.parametrize("fault", ["kill", "suspend"])
@pytest.mark.parametrize("group", [None, "group"])
async def test_a_consumer_closes_for_good_without_its_broker(
    frail_kafka: LocalKafka, unique: str, group: str | None, fault: str
) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=frail_kafka.bootstrap, heartbeat_ms=200)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 4)])
        before = asyncio.all_tasks()
        consumer = await broker.consume([unique], group=group and unique)
        await consumer.poll(10, 50)
        getattr(frail_kafka, fault)(1)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            await consumer.poll(10, 50)
        async with asyncio.timeout(8):
            await consumer.close()
        left = {str(task.get_coro()) for task in asyncio.all_tasks() - before}
        assert not [name for name in left if "AIOKafkaClient" in name or "Consumer" in name]


async def add_partitions(kafka: LocalKafka, topic: str, count: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(count)})
    await admin.close()


async def test_partitions_that_are_added_are_written_and_read(own_kafka: LocalKafka, unique: str) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=own_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        reader = await broker.consume([unique])
        for number in range(2):
            await broker.publish(Message(unique, b"before", partition=number))
        assert {record.value for record in await take(reader, 2)} == {b"before"}
        await add_partitions(own_kafka, unique, 4)
        assert await broker.partitions(unique) == 4
        for number in range(4):
            await broker.publish(Message(unique, b"after", partition=number))
        await reader._consumer._client.force_metadata_update()  # which comes by itself each 30 s
        found = await take(reader, 4)
    assert {(record.partition, record.value) for record in found} == {
        (number, b"after") for number in range(4)
    }


async def sees_one_partition(producer: Any, topic: str) -> None:
    """A broker's metadata may be older than what it has just told."""
    async with asyncio.timeout(20):
        while producer.client.cluster.partitions_for_topic(topic) != {0}:
            await producer.client.force_metadata_update()


async def test_a_topic_made_anew_with_fewer_partitions_is_told(own_kafka: LocalKafka, unique: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    await admin.start()
    async with KafkaBroker(KafkaConfig(bootstrap=own_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        await broker.publish(Message(unique, b"1", partition=1))
        await admin.delete_topics([unique])
        await broker.ensure_topics([TopicSpec(unique, 1)])
        await sees_one_partition(broker._publisher._producers.current, unique)
        with pytest.raises(
            BrokerError, match="was deleted and made anew with 1 partitions, fewer than it had: start"
        ):
            await broker.publish(Message(unique, b"2", partition=1))
    await admin.close()


async def test_a_topic_made_anew_while_a_batch_is_handed_over_is_told(
    own_kafka: LocalKafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when aiokafka's own look at a deleted topic makes it anew: `auto.create.topics.enable`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=own_kafka.bootstrap)
    await admin.start()
    async with KafkaBroker(KafkaConfig(bootstrap=own_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        await broker.publish(Message(unique, b"1", partition=1))
        producer = broker._publisher._producers.current
        send = producer.send_batch

        async def send_late(batch: Any, topic: str, *, partition: int) -> Any:
            await admin.delete_topics([topic])
            await broker.ensure_topics([TopicSpec(topic, 1)])
            await sees_one_partition(producer, topic)
            return await send(batch, topic, partition=partition)

        monkeypatch.setattr(producer, "send_batch", send_late)
        with pytest.raises(BrokerError, match="was deleted and made anew with 1 partitions"):
            await broker.publish(Message(unique, b"2", partition=1))
    await admin.close()


async def test_a_broker_that_is_away_for_a_while_costs_nothing(frail_kafka: LocalKafka, unique: str) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=frail_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        member = await broker.consume([unique], group=unique)
        first = [broker.publish(Message(unique, b"%d" % number)) for number in range(50)]
        await asyncio.gather(*first)
        frail_kafka.kill(1)
        waiting = [broker.publish(Message(unique, b"%d" % number)) for number in range(50, 100)]
        await asyncio.to_thread(frail_kafka.restart, 1)
        found = await take(member, 100)
        await asyncio.gather(*waiting)
        await member.commit(dict.fromkeys(member.assignment(), 1))
    assert sorted(int(record.value or b"") for record in found) == list(range(100))
