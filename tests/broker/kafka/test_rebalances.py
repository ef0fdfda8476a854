"""What a member of a group reads while its partitions change."""

import asyncio
from collections.abc import Collection

import pytest
from support.broker_contract import RecordingListener, take, wait_until

from inferstream.pipeline.broker.base import Message, TopicPartition, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig

pytestmark = pytest.mark.kafka


class SlowListener(RecordingListener):
    """Its `assigned` takes until a record of the assignment has been fetched, once it has its ``consumer``."""

    telling = False

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        if (consumer := self.consumer) is not None:
            self.telling = True
            await wait_until(lambda: any(consumer.positions().values()))
            self.telling = False


async def test_a_poll_that_outlasts_a_rebalance_returns_records_when_its_listener_knows(
    kafka: str, unique: str
) -> None:
    """A worker would take them for records of the assignment before, and answer under a generation that is over."""
    listener = SlowListener()
    config = KafkaConfig(bootstrap=kafka, heartbeat_ms=100)
    async with KafkaBroker(config) as broker, KafkaBroker(config) as elsewhere:
        await broker.ensure_topics([TopicSpec(unique, 2)])
        member = await broker.consume([unique], group=unique, listener=listener)
        for partition in range(2):
            await broker.publish(Message(unique, b"x", partition=partition))
        await take(member, 2)
        listener.consumer = member
        first = member.generation()
        seen: list[object] = []
        polling = asyncio.create_task(member.poll(10, 15_000))
        polling.add_done_callback(lambda _: seen.extend((listener.telling, member.generation())))
        await elsewhere.consume([unique], group=unique)
        (record,) = await polling
        await asyncio.sleep(0)
        assert record.partition in {at.partition for at in member.assignment()}
        assert seen == [False, first + 1]
