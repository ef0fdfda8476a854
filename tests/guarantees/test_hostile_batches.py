"""A hostile batch on the request topic: good requests around it are answered, and nothing is missing."""

import asyncio
from pathlib import Path

import pytest
from support.failing_worker import failing_worker
from support.kafka_serving import running
from support.wire import send_batch, wire_batch, wire_record

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import Config, KafkaConfig
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Result
from inferstream.schemas.topics import Header, Topics

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_bomb_ends_in_a_dead_letter_that_names_its_offsets(
    kafka: str, unique: str, tmp_path: Path, codec: str
) -> None:
    topics = Topics("echo", unique)
    settings = KafkaConfig(bootstrap=kafka, topic_prefix=unique)
    async with asyncio.timeout(60), KafkaBroker(settings) as broker:
        serving = failing_worker(broker, tmp_path, topics, partitions=1)
        async with running(serving):
            await broker.publish(Message(topics.requests, b'{"id": "before", "text": "hello"}'))
            bomb = [wire_record(n, b"\0" * 6_000_000, b"key") for n in range(3)]
            await send_batch(kafka, topics.requests, wire_batch(bomb, codec))
            await broker.publish(Message(topics.requests, b'{"id": "after", "text": "hello"}'))
            reader = await broker.consume([topics.replies, topics.dead_letters])
            found = []
            while len(found) < 3:
                found += await reader.poll(10, 200)
        report = await audit(broker, Audited.of("echo", Config(kafka=settings)), clock=lambda: 4e9)
    replies = [decode_reply(one.value) for one in found if one.topic == topics.replies]
    assert {reply.id for reply in replies if isinstance(reply, Result)} == {"before", "after"}
    (letter,) = (dict(one.headers) for one in found if one.topic == topics.dead_letters)
    assert letter[Header.ORIGIN] == f"{topics.requests}/0/1".encode()
    assert letter[Header.LAST_OFFSET] == b"3"
    assert letter[Header.ERROR_CODE] == b"unreadable_batch"
    assert (report.requests, report.results, report.dead_letters, report.missing) == (5, 2, 3, 0)
