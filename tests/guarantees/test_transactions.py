"""Requests of transactions: aborted ones are never answered, and no lag is left behind."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from support.failing_worker import failing_worker
from support.kafka_serving import running, until

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import Config, KafkaConfig
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.topics import Topics

pytestmark = pytest.mark.kafka

PARTITIONS = 2


def request(name: str) -> bytes:
    return b'{"id": "%s", "text": "hello"}' % name.encode()


async def send_transactions(kafka: str, topic: str, count: int) -> None:
    """Every second one is aborted; each has two requests on each partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer:
        for number in range(count):
            await producer.begin_transaction()
            end = "commit" if number % 2 else "abort"
            for part in (0, 1, 0, 1):
                await producer.send_and_wait(topic, request(f"{end}-{number}-{part}"), partition=part)
            await getattr(producer, f"{end}_transaction")()


async def lags(kafka: str, topics: Topics) -> set[int | None]:
    """As Kafka's tools and autoscalers compute it: high watermark minus committed offset."""
    parts = [KafkaPartition(topics.requests, number) for number in range(PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=f"{topics.prefix}.{topics.task}") as reader:
        ends = await reader.end_offsets(parts)
        committed = {at: await reader.committed(at) for at in parts}
    return {None if committed[at] is None else ends[at] - committed[at] for at in parts}


async def test_aborted_requests_are_not_answered_and_the_lag_is_zero(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    topics = Topics("echo", unique)
    async with asyncio.timeout(60), KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        serving = failing_worker(broker, tmp_path, topics, partitions=PARTITIONS)
        async with running(serving):
            await until(lambda: _is(lags(kafka, topics), {0}))  # idle partitions get a commit too
            await send_transactions(kafka, topics.requests, 6)
            await broker.publish(Message(topics.requests, request("plain"), partition=0))
            await until(lambda: _is(lags(kafka, topics), {0}))
        reader = await broker.consume([topics.replies])
        found = [decode_reply(one.value).id for one in await reader.poll(1_000, 2_000)]
        report = await audit(
            broker, Audited.of("echo", Config(kafka=KafkaConfig(topic_prefix=unique))), clock=lambda: 4e9
        )
    assert sorted(found) == sorted([*(f"commit-{n}-{p}" for n in (1, 3, 5) for p in (0, 0, 1, 1)), "plain"])
    assert (report.requests, report.results, report.missing) == (7, 7, 0)


async def _is(value: Awaitable[object], wanted: object) -> bool:
    return await value == wanted
