"""Faults of Kafka, on a broker of this file's own, which tests may kill."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError
from support.broker_contract import TIMEOUT_S, take

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka import connection
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.broker.kafka.topics import TopicAdmin
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import BrokerError, NotWritable
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.lab.chaos.strangers import delete_topics

pytestmark = pytest.mark.kafka

METADATA_POLL_S = 0.05


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("kafka-own"), port=0) as kafka:
        yield kafka


@pytest.fixture
def breakable_kafka(own_kafka: LocalKafka) -> Iterator[LocalKafka]:
    """A broker that the test may kill or suspend; afterwards it runs again."""
    yield own_kafka
    own_kafka.resume(1)
    if not own_kafka.running():
        own_kafka.restart(1)


@pytest.mark.parametrize("fault", ["kill", "suspend"])
@pytest.mark.parametrize("group", [None, "group"])
async def test_a_consumer_without_its_broker_closes_completely(
    breakable_kafka: LocalKafka, unique: str, group: str | None, fault: str
) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=breakable_kafka.bootstrap, heartbeat_ms=200)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 4)])
        before = asyncio.all_tasks()
        consumer = await broker.consume([unique], group=group and unique)
        await consumer.poll(10, 50)
        getattr(breakable_kafka, fault)(1)
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


async def test_added_partitions_are_written_and_read(
    own_kafka: LocalKafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "METADATA_MAX_AGE_MS", 200)
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
        found = await take(reader, 4)
    assert {(record.partition, record.value) for record in found} == {
        (number, b"after") for number in range(4)
    }


async def create_again(kafka: LocalKafka, broker: KafkaBroker, topic: str, partitions: int) -> None:
    """Delete the topic, create it with this number of partitions, and wait until the broker reports them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()
    # Metadata lags behind the deletion. As long as it has the topic, `ensure_topics` does not
    # create it.
    await until(broker, topic, None)
    await broker.ensure_topics([TopicSpec(topic, partitions)])
    await until(broker, topic, partitions)


async def until(broker: KafkaBroker, topic: str, count: int | None) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while await broker.partitions(topic) != count:  # noqa: ASYNC110 - Kafka has no event for this
            await asyncio.sleep(METADATA_POLL_S)


async def sees_one_partition(producer: AIOKafkaProducer, topic: str) -> None:
    """Wait until the producer's own metadata has the topic with one partition."""
    async with asyncio.timeout(TIMEOUT_S):
        while producer.client.cluster.partitions_for_topic(topic) != {0}:
            await producer.client.force_metadata_update()
            await asyncio.sleep(METADATA_POLL_S)


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> list[AIOKafkaProducer]:
    """Every aiokafka producer that was started."""
    started: list[AIOKafkaProducer] = []
    start = AIOKafkaProducer.start

    async def recorded_start(producer: AIOKafkaProducer) -> None:
        await start(producer)
        started.append(producer)

    monkeypatch.setattr(AIOKafkaProducer, "start", recorded_start)
    return started


async def test_a_topic_created_again_with_fewer_partitions_fails_with_the_reason(
    own_kafka: LocalKafka, unique: str, producers: list[AIOKafkaProducer]
) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=own_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        await broker.publish(Message(unique, b"1", partition=1))
        await create_again(own_kafka, broker, unique, 1)
        await sees_one_partition(producers[-1], unique)
        with pytest.raises(
            BrokerError, match=r"was deleted and created again with 1 partitions, fewer than before: restart"
        ):
            await broker.publish(Message(unique, b"2", partition=1))


async def test_a_topic_created_again_during_a_send_fails_with_the_reason(
    own_kafka: LocalKafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `auto.create.topics.enable`, aiokafka's own metadata request creates a deleted topic again."""
    send_batch = AIOKafkaProducer.send_batch
    async with KafkaBroker(KafkaConfig(bootstrap=own_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        await broker.publish(Message(unique, b"1", partition=1))

        async def send_late(producer: AIOKafkaProducer, batch: Any, topic: str, *, partition: int) -> Any:
            await create_again(own_kafka, broker, topic, 1)
            await sees_one_partition(producer, topic)
            return await send_batch(producer, batch, topic, partition=partition)

        monkeypatch.setattr(AIOKafkaProducer, "send_batch", send_late)
        with pytest.raises(BrokerError, match="was deleted and created again with 1 partitions"):
            await broker.publish(Message(unique, b"2", partition=1))


async def test_a_topic_that_others_delete_under_load_keeps_no_record_waiting(
    own_kafka: LocalKafka, unique: str
) -> None:
    """Each partition finds it out by itself: by its batch in flight, or before its next one."""
    foreign = [f"{unique}.{number}" for number in range(8)]
    sent: list[asyncio.Future[None]] = []
    ended: list[asyncio.Future[None]] = []

    async def load(broker: KafkaBroker) -> None:
        for number in itertools.count():
            sent.extend(broker.publish(Message(name, b"x", b"%d" % number)) for name in foreign)
            await asyncio.sleep(0.01)

    async with KafkaBroker(KafkaConfig(bootstrap=own_kafka.bootstrap)) as broker:
        for _ in range(2):
            await broker.ensure_topics([TopicSpec(name, 4) for name in foreign])
            loading = asyncio.create_task(load(broker))
            await until_ended(sent, 100, failed=False)
            await delete_topics(own_kafka.bootstrap, foreign)
            await until_ended(sent, 1_000, failed=True)
            loading.cancel()
            sent, ended = [], [*ended, *sent]
        errors = await asyncio.wait_for(asyncio.gather(*ended, return_exceptions=True), TIMEOUT_S)
    assert {type(error) for error in errors} == {type(None), NotWritable}


async def until_ended(sent: list[asyncio.Future[None]], count: int, *, failed: bool) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while sum(one.done() and bool(one.exception()) == failed for one in sent) < count:  # noqa: ASYNC110
            await asyncio.sleep(METADATA_POLL_S)


class OneBrokerKnows:
    """A client of three brokers, of which the second knows a new topic."""

    cluster: Any

    def __init__(self, asked_first: int) -> None:
        self.cluster = self
        self.asked_first = asked_first

    def brokers(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(nodeId=number) for number in (1, 2, 3)]

    def get_random_node(self) -> int:
        return self.asked_first

    async def send(self, node: int, request: Any) -> Any:
        if node == 1 != self.asked_first:
            raise KafkaConnectionError("it is down")
        error = 0 if node == 2 else UnknownTopicOrPartitionError.errno
        topics = [
            {"topic": "new", "error_code": error, "partitions": [{"leader": 1}] * (node == 2)},
            {"topic": "none", "error_code": UnknownTopicOrPartitionError.errno, "partitions": []},
        ]
        asked = request._topics
        return SimpleNamespace(
            to_object=lambda: {"topics": [topic for topic in topics if topic["topic"] in asked]}
        )


@pytest.mark.parametrize("asked_first", [1, 2, 3])
async def test_a_topic_is_missing_only_where_no_broker_knows_it(asked_first: int) -> None:
    producers: Any = SimpleNamespace(current=SimpleNamespace(client=OneBrokerKnows(asked_first)))
    admin = TopicAdmin(producers, KafkaConfig())
    assert await admin.partitions("new") == 1
    assert await admin.partitions("none") is None


async def test_no_record_is_lost_while_a_broker_restarts(breakable_kafka: LocalKafka, unique: str) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=breakable_kafka.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        member = await broker.consume([unique], group=unique)
        first = [broker.publish(Message(unique, b"%d" % number)) for number in range(50)]
        await asyncio.gather(*first)
        breakable_kafka.kill(1)
        waiting = [broker.publish(Message(unique, b"%d" % number)) for number in range(50, 100)]
        await asyncio.to_thread(breakable_kafka.restart, 1)
        found = await take(member, 100)
        await asyncio.gather(*waiting)
        await member.commit(dict.fromkeys(member.assignment(), 1))
    assert sorted(int(record.value or b"") for record in found) == list(range(100))
