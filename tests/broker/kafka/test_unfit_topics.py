"""Topics that are found unfit are named; topics that are made here are fit, whatever the brokers' defaults."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support.failing_worker import failing_worker
from support.kafka_serving import running

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.broker.kafka.fitness import unfit
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import NotWritable
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.ops.dead_letters.handling import replay_of
from inferstream.schemas.topics import Header, Topics

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def platform_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka whose defaults are those of a platform team that keeps state in topics."""
    properties = {"log.cleanup.policy": "compact", "log.message.timestamp.type": "CreateTime"}
    with LocalKafka(tmp_path_factory.mktemp("platform"), port=0, properties=properties) as kafka:
        yield kafka.bootstrap


async def make(kafka: str, topic: str, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    given = {name.replace("_", "."): value for name, value in configs.items()}
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=given)])
    await admin.close()


async def test_topics_made_here_do_not_depend_on_the_defaults_of_the_brokers(
    platform_kafka: str, unique: str
) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=platform_kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        assert await broker.faults([unique]) == []
        await broker.publish(Message(unique, b"no key"))


async def test_a_compacted_topic_is_made_as_one_and_is_no_fault(
    kafka: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec = TopicSpec(unique, 1, compacted=True)
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([spec])
        await broker.ensure_topics([spec])
        assert "is compacted" in (await broker.faults([unique]))[0]
        await broker.publish(Message(unique, b"1", b"key"))
    assert "is compacted" not in caplog.text


async def test_replication_is_the_default_of_the_brokers_unless_asked_for(
    kafka_cluster: LocalKafka, unique: str
) -> None:
    async with KafkaBroker(KafkaConfig(bootstrap=kafka_cluster.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(f"{unique}.a", 1), TopicSpec(f"{unique}.b", 1, replication=1)])
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap)
    await admin.start()
    found = await admin.describe_topics([f"{unique}.a", f"{unique}.b"])
    await admin.close()
    assert {one["topic"][-1]: len(one["partitions"][0]["replicas"]) for one in found} == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    ("configs", "sentence"),
    [
        ({"cleanup_policy": "compact"}, "is compacted: .*Set its cleanup.policy to delete"),
        ({"cleanup_policy": "compact,delete"}, "is compacted"),
        ({"message_timestamp_type": "CreateTime"}, "times of the producers: .*LogAppendTime"),
        ({"min_insync_replicas": "2"}, "fewer replicas than its min.insync.replicas"),
    ],
)
async def test_an_existing_topic_that_is_unfit_is_named(
    kafka: str, unique: str, configs: dict[str, str], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    await make(kafka, unique, **({"message_timestamp_type": "LogAppendTime"} | configs))
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        with caplog.at_level(logging.WARNING, "inferstream"):
            await broker.ensure_topics([TopicSpec(unique)])
        (fault,) = await broker.faults([unique])
    assert fault in caplog.text
    assert re.search(sentence, fault)


def test_what_a_user_may_not_see_is_no_fault() -> None:
    assert unfit({}, {"topic": 1}) == []


async def test_one_refused_record_fails_alone(kafka: str, unique: str) -> None:
    await make(kafka, unique, cleanup_policy="compact")
    async with asyncio.timeout(30), KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        keys = [b"k" if number != 37 else None for number in range(100)]
        sent = [broker.publish(Message(unique, b"%d" % n, key)) for n, key in enumerate(keys)]
        results = await asyncio.gather(*sent, return_exceptions=True)
        assert [n for n, result in enumerate(results) if result is not None] == [37]
        assert isinstance(results[37], NotWritable)
        assert "cleanup.policy" in str(results[37])
        await broker.publish(Message(unique, b"after", b"k"))


async def test_a_dead_letter_without_a_key_ends_no_worker_on_a_compacted_topic(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    topics = Topics("echo", unique)
    await make(kafka, topics.dead_letters, cleanup_policy="compact")
    async with asyncio.timeout(60), KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        serving = failing_worker(broker, tmp_path, topics, partitions=1)
        async with running(serving) as worker:
            wrong = ((Header.REPLY_TOPIC, b"not.allowed"),)
            await broker.publish(Message(topics.requests, b'{"text": "hello"}', headers=wrong))
            await broker.publish(Message(topics.requests, b'{"id": "after", "text": "hello"}'))
            reader = await broker.consume([topics.dead_letters])
            letters = []
            while not letters:
                letters += await reader.poll(10, 100)
            assert not worker.done()
    (letter,) = letters
    assert letter.key == f"{topics.requests}/0/0".encode()
    assert letter.value == b'{"text": "hello"}'
    replay = replay_of(letter, topics, {topics.requests: 1})
    assert replay.key is None, "the replay is the identical request"
    assert Header.KEYLESS not in dict(replay.headers)
