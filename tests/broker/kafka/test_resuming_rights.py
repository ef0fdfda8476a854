"""A worker that may not read its reply topic begins answers in pieces anew; with the right it goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from broker.kafka.test_rights import DESCRIBE, GROUP, READ, TOPIC, WRITE
from support.secured_kafka import SecuredKafka, secured_kafka
from support.steps_rig import until
from support.steps_worker import SlowSession, know_steps, steps_worker

from inferstream import Client
from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.schemas.topics import Topics

pytestmark = pytest.mark.kafka
TEXT = "abcdefgh" * 80


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("kafka-secured")) as kafka:
        yield kafka


@asynccontextmanager
async def served(broker: Broker, topics: Topics) -> AsyncIterator[None]:
    """A worker that ends at the end of the block, and hands over what runs."""
    serving = steps_worker(broker, topics, SlowSession())
    running = asyncio.create_task(serving.run())
    yield
    serving.drain()
    await running


@pytest.mark.parametrize("may_read", [False, True])
async def test_without_the_right_to_read_the_text_begins_anew_and_no_piece_changes(
    secured: SecuredKafka,
    unique: str,
    may_read: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    know_steps(monkeypatch)
    topics = Topics("steps", unique)
    secured.add_user(unique)
    secured.grant(unique, READ, GROUP, unique)
    for operation in (DESCRIBE, WRITE):
        secured.grant(unique, operation, TOPIC, unique)
    for topic in (topics.requests, topics.cancels, f"{unique}.steps.retry"):
        secured.grant(unique, READ, TOPIC, topic)
    if may_read:
        secured.grant(unique, READ, TOPIC, topics.replies)
    read: list[str] = []
    async with asyncio.timeout(120), KafkaBroker(KafkaConfig(bootstrap=secured.open)) as open_broker:
        for one in steps_worker(open_broker, topics).of_tasks:
            await open_broker.ensure_topics(one.specs)
        async with (
            Client(broker=open_broker, prefix=unique) as client,
            KafkaBroker(secured.config(unique)) as broker,
        ):

            async def stream() -> None:
                async with client.stream("steps", TEXT, timeout_s=None) as stream:
                    async for piece in stream:
                        read.append(piece)  # noqa: PERF401 - it is looked at meanwhile

            reading = asyncio.create_task(stream())
            async with served(broker, topics):
                await until(lambda: len(read) >= 30)
            assert not reading.done()
            async with served(broker, topics):
                await reading
        assert "".join(read) == TEXT
        report = await audit(open_broker, Audited(topics), clock=lambda: 4e9)
    assert (report.results, report.lost, report.torn, report.resumed) == (1, False, 0, 1)
    assert (report.repeated_pieces == 0) is may_read
    refusal = (
        f"What was told on {topics.replies} before this worker took over cannot be read (Kafka does not let"
    )
    assert (refusal in caplog.text) is not may_read
