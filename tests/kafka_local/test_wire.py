"""Leaders, coordinators and live brokers as any broker reports them."""

import pytest

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.kafka_local.wire import (
    BrokerAddress,
    broker_addresses,
    coordinator,
    leaders,
    live_brokers,
)

NO_BROKER = BrokerAddress("127.0.0.1", 1)


def test_addresses_are_read_from_a_bootstrap_string() -> None:
    assert broker_addresses("a:1,::1:2") == [("a", 1), ("::1", 2)]


def test_a_broker_that_does_not_respond_reports_nothing() -> None:
    assert live_brokers(NO_BROKER) == 0
    assert coordinator([NO_BROKER], "group") is None
    assert leaders([NO_BROKER], "topic") == {}


@pytest.mark.kafka
async def test_any_broker_reports_leaders_and_coordinator(kafka_cluster: LocalKafka, unique: str) -> None:
    brokers = kafka_cluster.addresses
    async with KafkaBroker(KafkaConfig(bootstrap=kafka_cluster.bootstrap)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 6, 3)])
        await broker.publish(Message(unique, b"{}"))
        consumer = await broker.consume([unique], group=unique)
        await consumer.close()
    for asked in ([brokers[0]], [NO_BROKER, brokers[2]]):
        assert leaders(asked, unique).keys() == set(range(6))
        assert set(leaders(asked, unique).values()) <= {1, 2, 3}
        assert coordinator(asked, unique) in (1, 2, 3)
    assert leaders(brokers, f"{unique}.absent") == {}
