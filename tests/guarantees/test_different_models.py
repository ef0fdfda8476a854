"""Two workers of one group on a real Kafka that serve different models, for instance during a rollout."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.broker_contract import take
from support.failing_worker import failing_worker
from support.kafka_serving import running, until

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig, RetryConfig
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Reply, Result
from inferstream.schemas.topics import Header, Topics

PATIENCE_S = 90
MODELS = ("echo-one", "echo-two")
KEYLESS = 20
RETRIES = RetryConfig(tiers_s=[1], max_attempts=2)
"""The second attempt must meet the right worker."""


@pytest.fixture
async def group(
    kafka: str, unique: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[tuple[KafkaBroker, Topics]]:
    """A broker and the topics of the group; each worker has one of the two partitions."""
    caplog.set_level(logging.INFO, "inferstream.pipeline.delivery")
    config = KafkaConfig(bootstrap=kafka)
    topics = Topics("echo", unique)
    async with asyncio.timeout(PATIENCE_S), AsyncExitStack() as stack:
        for model in MODELS:
            broker = await stack.enter_async_context(KafkaBroker(config))
            serving = failing_worker(broker, tmp_path / model, topics, retries=RETRIES, model=model)
            await stack.enter_async_context(running(serving))

        async def shared() -> bool:
            return caplog.text.count(f"Serving 1 partitions. Topics: {topics.requests}.") == len(MODELS)

        async def acquainted() -> bool:
            return caplog.text.count("has 2 members now.") == len(MODELS)

        await until(shared)
        await until(acquainted)
        yield await stack.enter_async_context(KafkaBroker(config)), topics


async def replies(broker: KafkaBroker, topics: Topics, count: int) -> list[Reply]:
    reader = await broker.consume([topics.replies])
    found = [decode_reply(record.value or b"") for record in await take(reader, count)]
    assert await reader.poll(1, 500) == [], "each once"
    return found


async def test_a_request_without_a_key_finds_the_worker_that_has_its_model(
    group: tuple[KafkaBroker, Topics],
) -> None:
    broker, topics = group
    for number in range(KEYLESS):
        headers = ((Header.MODEL, MODELS[number // 2 % 2].encode()),)
        body = b'{"id":"%d","text":"text %d"}' % (number, number)
        await broker.publish(Message(topics.requests, body, None, headers, number % 2))
    found = await replies(broker, topics, KEYLESS)
    assert {reply.id: getattr(reply, "model", reply) for reply in found} == {
        str(number): MODELS[number // 2 % 2] for number in range(KEYLESS)
    }


async def test_a_request_whose_order_matters_gets_a_failure_that_says_why(
    group: tuple[KafkaBroker, Topics],
) -> None:
    """Its key would bring it back to the same worker, and the later requests of its key would wait."""
    broker, topics = group
    for partition in range(2):
        body = b'{"id":"%d","text":"text"}' % partition
        model = ((Header.MODEL, MODELS[0].encode()),)
        await broker.publish(Message(topics.requests, body, b"conversation", model, partition))
    found = await replies(broker, topics, 2)
    (result,) = [reply for reply in found if isinstance(reply, Result)]
    (failure,) = [reply for reply in found if isinstance(reply, Failure)]
    assert result.model == MODELS[0]
    assert (failure.code, failure.retryable) == ("unknown_model", True)
    assert f"this worker serves {MODELS[1]}" in failure.message
