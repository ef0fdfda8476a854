"""What becomes of us when Kafka breaks: on a broker of one's own, which each test may end."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from inferstream.pipeline.broker.base import TopicSpec
from inferstream.pipeline.broker.kafka import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.ops.local_kafka import LocalKafka

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
