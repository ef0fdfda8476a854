"""Reply topics that requests name, and that their clients delete: no worker ends, others are not held up."""

import asyncio
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support.failing_worker import failing_worker
from support.kafka_serving import running

from inferstream.pipeline.broker.base import Message, Record
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.topics import Header, Topics

pytestmark = pytest.mark.kafka


def asking(name: str, reply_topic: str | None = None) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    body = b'{"id": "%s", "text": "hello"}' % name.encode()
    return body, ((Header.REPLY_TOPIC, reply_topic.encode()),) if reply_topic else ()


async def read(broker: KafkaBroker, topic: str, count: int) -> list[Record]:
    reader = await broker.consume([topic])
    found: list[Record] = []
    while len(found) < count:
        found += await reader.poll(1_000, 100)
    await reader.close()
    return found


async def test_a_deleted_reply_topic_ends_its_requests_as_dead_letters_and_no_worker(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    topics = Topics("echo", unique)
    mine = f"{topics.replies}.mine"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    async with asyncio.timeout(90), KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await admin.start()
        await admin.create_topics([NewTopic(mine, 2, 1)])
        serving = failing_worker(broker, tmp_path, topics, partitions=2)
        async with running(serving) as worker:
            for part in (0, 1):
                body, headers = asking(f"first-{part}", mine)
                await broker.publish(Message(topics.requests, body, headers=headers, partition=part))
            await read(broker, mine, 2)
            await admin.delete_topics([mine])
            for number in range(10):
                for name, topic in (("mine", mine), ("other", None)):
                    body, headers = asking(f"{name}-{number}", topic)
                    await broker.publish(
                        Message(topics.requests, body, headers=headers, partition=number % 2)
                    )
            answered = {decode_reply(one.value).id for one in await read(broker, topics.replies, 10)}
            letters = await read(broker, topics.dead_letters, 10)
            assert not worker.done()
            # A topic with this name that is created again is used again.
            await admin.create_topics([NewTopic(mine, 1, 1)])
            found: list[Record] = []
            while not found:
                body, headers = asking("again", mine)
                await broker.publish(Message(topics.requests, body, headers=headers, partition=1))
                reader = await broker.consume([mine])
                found = list(await reader.poll(10, 1_000))
                await reader.close()
        await admin.close()
    assert answered == {f"other-{number}" for number in range(10)}
    names = [dict(one.headers) for one in letters]
    assert {one[Header.ERROR_CODE] for one in names} == {b"reply_topic_not_allowed"}
    assert {(one.value or b"")[8:14] for one in letters} == {b"mine-%d" % n for n in range(10)}
    assert {decode_reply(one.value).id for one in found} == {"again"}


async def test_thousands_of_missing_reply_topics_are_looked_for_together(
    kafka: str, unique: str, tmp_path: Path
) -> None:
    """3 000 of them, and one other request behind them: counted in metadata requests, not in time."""
    topics = Topics("echo", unique)
    asked: list[int] = []
    async with asyncio.timeout(90), KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        describe = broker._publisher.topics._describe

        async def counted(names: list[str]) -> object:
            asked.append(len(names))
            return await describe(names)

        broker._publisher.topics._describe = counted  # type: ignore[method-assign, assignment]
        serving = failing_worker(broker, tmp_path, topics, partitions=1)
        async with running(serving):
            sent = []
            for number in range(3_000):
                body, headers = asking(f"{number}", f"{topics.replies}.missing-{number}")
                sent.append(broker.publish(Message(topics.requests, body, headers=headers, partition=0)))
            await asyncio.gather(*sent)
            before = len(asked)
            await broker.publish(Message(topics.requests, asking("other")[0], partition=0))
            await read(broker, topics.replies, 1)
            await read(broker, topics.dead_letters, 3_000)
    assert sum(asked) >= 3_000
    assert len(asked) < 300, (
        f"{len(asked)} requests for metadata, {before} of them while the requests were sent"
    )
