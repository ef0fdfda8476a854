"""A missing right raises an error that names the right to grant; nothing hangs or retries without end."""

import asyncio
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from support.broker_contract import take
from support.secured_kafka import SecuredKafka, secured_kafka

from inferstream import Client, Timeout, Topics
from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.delivery.cancel_reader import CancelReader
from inferstream.pipeline.errors import BrokerError
from inferstream.pipeline.telemetry import WorkerMetrics

pytestmark = pytest.mark.kafka

TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, CREATE, DESCRIBE = (
    AclOperation.READ,
    AclOperation.WRITE,
    AclOperation.CREATE,
    AclOperation.DESCRIBE,
)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("kafka-secured")) as kafka:
        yield kafka


@pytest.fixture
def config(secured: SecuredKafka, unique: str) -> KafkaConfig:
    """The settings of a user named ``unique``, who has a right only on topics with another name."""
    secured.add_user(unique)
    secured.grant(unique, WRITE, TOPIC, f"{unique}-other")
    return secured.config(unique)


async def use(config: KafkaConfig, name: str) -> None:
    """Create a topic, write to it, and read it in a group; all have the same name."""
    async with asyncio.timeout(20), KafkaBroker(config) as broker:
        await broker.ensure_topics([TopicSpec(name, 1)])
        await broker.publish(Message(name, b"value"))
        consumer = await broker.consume([name], group=name)
        while not (await consumer.poll(10, 100)):
            pass
        await consumer.commit(dict.fromkeys(consumer.assignment(), 1))


RIGHTS = {
    "topic to describe": (DESCRIBE, TOPIC),
    "topic to create": (CREATE, TOPIC),
    "topic to write": (WRITE, TOPIC),
    "group": (READ, GROUP),
    "topic to read": (READ, TOPIC),
}


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("topic to create", "does not let {name} create the topic {name}: grant it Create on the topic"),
        ("topic to write", "does not let {name} write to the topic {name}: grant it .*Write, on {name}"),
        ("group", "does not let {name} join the consumer group {name}: grant it Read on the consumer group"),
        ("topic to read", "does not let {name} .*: grant it .*Read.* on {name}"),
    ],
)
async def test_a_missing_right_is_named(
    secured: SecuredKafka, config: KafkaConfig, unique: str, missing: str, sentence: str
) -> None:
    for name, (operation, kind) in RIGHTS.items():
        if name != missing:
            secured.grant(unique, operation, kind, unique)
    with pytest.raises(BrokerError, match=sentence.format(name=unique)):
        await use(config, unique)


async def test_all_rights_together_are_enough(
    secured: SecuredKafka, config: KafkaConfig, unique: str
) -> None:
    for operation, kind in RIGHTS.values():
        secured.grant(unique, operation, kind, unique)
    await use(config, unique)


async def test_a_user_without_any_right_to_write_gets_an_error(secured: SecuredKafka, unique: str) -> None:
    secured.add_user(unique)
    with pytest.raises(BrokerError, match=f"does not let {unique} publish: grant it Write"):
        async with KafkaBroker(secured.config(unique)):
            pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "no"},
        {"security_protocol": "PLAINTEXT", "username": None, "password": None},
        {"sasl_mechanism": "PLAIN"},
    ],
)
async def test_wrong_credentials_raise_the_error_with_the_three_causes(
    secured: SecuredKafka, config: KafkaConfig, unique: str, wrong: dict[str, str | None]
) -> None:
    with pytest.raises(BrokerError, match=r"no broker listens.*security protocol.*password"):
        async with KafkaBroker(secured.config(unique, **wrong)):
            pass


async def test_a_client_needs_to_write_requests_and_to_read_replies(
    secured: SecuredKafka, unique: str
) -> None:
    requests, replies = f"{unique}-requests", f"{unique}-replies"
    secured.add_user(unique)
    secured.grant(unique, WRITE, TOPIC, requests)  # both imply Describe
    secured.grant(unique, READ, TOPIC, replies)
    async with KafkaBroker(KafkaConfig(bootstrap=secured.open)) as admin:
        await admin.ensure_topics([TopicSpec(requests, 1), TopicSpec(replies, 1)])
        async with asyncio.timeout(20), KafkaBroker(secured.config(unique)) as client:
            assert await client.partitions(requests) == 1
            reader = await client.consume([replies], start="latest")
            await client.publish(Message(requests, b"request"))
            await admin.publish(Message(replies, b"reply"))
            assert [record.value for record in await take(reader, 1)] == [b"reply"]


async def test_a_client_that_may_not_cancel_goes_on_without(
    secured: SecuredKafka, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its requests time out here, since no worker runs: each would be cancelled."""
    topics = Topics("triage", unique)
    secured.add_user(unique)
    secured.grant(unique, WRITE, TOPIC, topics.requests)
    secured.grant(unique, READ, TOPIC, topics.replies)
    names = [topics.requests, topics.replies, topics.cancels]
    async with KafkaBroker(KafkaConfig(bootstrap=secured.open)) as admin:
        await admin.ensure_topics([TopicSpec(name, 1) for name in names])
        async with (
            asyncio.timeout(60),
            KafkaBroker(secured.config(unique)) as broker,
            Client(broker=broker, prefix=unique) as client,
        ):
            for _ in range(3):
                with pytest.raises(Timeout, match="No reply came"):
                    await client.request("triage", "a text", timeout_s=2)
            with pytest.raises(BrokerError, match=rf"does not let {unique} .*{topics.cancels}.*grant"):
                await client.request("triage", "a text", timeout_s=20, lease_s=5)
        reader = await admin.consume([topics.requests])
        assert len(await take(reader, 3)) == 3
    (told,) = [record.message for record in caplog.records if "run to their end" in record.message]
    assert f"Kafka does not let {unique} describe the topic {topics.cancels}: grant it" in told


async def test_a_worker_that_may_not_read_cancels_says_so(
    secured: SecuredKafka, unique: str, config: KafkaConfig
) -> None:
    secured.grant(unique, DESCRIBE, TOPIC, unique)
    async with KafkaBroker(KafkaConfig(bootstrap=secured.open)) as admin:
        await admin.ensure_topics([TopicSpec(unique, 1)])
        async with asyncio.timeout(60), KafkaBroker(config) as broker:
            with pytest.raises(BrokerError, match=f"does not let {unique} .*grant it .*Read.* on {unique}"):
                await CancelReader(broker, unique, WorkerMetrics().of_task("triage")).run()
