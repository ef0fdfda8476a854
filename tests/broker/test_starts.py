"""A group that begins without offsets, or behind what retention has deleted, is told with its numbers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka.admin import AdminClient
from support.broker_contract import take

from inferstream.pipeline.broker.base import Broker, Message, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.broker.kafka.membership import TIMES, WITHIN_S, Membership
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.errors import BrokerError


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    if request.param == "kafka":
        opened: Broker = KafkaBroker(KafkaConfig(bootstrap=request.getfixturevalue("kafka")))
    else:
        opened = EmbeddedBroker(tmp_path)
    async with opened:
        yield opened


async def delete_before(broker: Broker, at: TopicPartition, offset: int) -> None:
    if isinstance(broker, EmbeddedBroker):
        await broker.trim({at: offset})
        return
    assert isinstance(broker, KafkaBroker)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker._config.bootstrap)
    await admin.start()
    await admin.delete_records({KafkaPartition(*at): RecordsToDelete(offset)})
    await admin.close()


async def test_a_start_without_offsets_says_how_many_requests_it_means(
    broker: Broker, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "inferstream")
    await broker.ensure_topics([TopicSpec(unique, 2)])
    silent = await broker.consume([unique], group="empty")
    await silent.close()
    assert "has no offsets" not in caplog.text, "an empty topic means nothing"
    for number in range(5):
        await broker.publish(Message(unique, b"v", partition=number % 2))
    member = await broker.consume([unique], group=unique)
    await take(member, 5)  # if the start has failed, this raises the reason
    assert f"The group {unique} has no offsets for {unique}: it reads the 5 records" in caplog.text
    await member.commit({TopicPartition(unique, 0): 3, TopicPartition(unique, 1): 2})
    await member.close()
    caplog.clear()
    member = await broker.consume([unique], group=unique)
    await member.close()
    assert "has no offsets" not in caplog.text


@pytest.mark.kafka
async def test_offsets_that_kafka_deleted_are_told_with_how_many_requests_it_means(
    kafka: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka deletes the offsets of a group without members after 7 days (`offsets.retention.minutes`)."""
    at = TopicPartition(unique, 0)
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        for _ in range(5):
            await broker.publish(Message(unique, b"v"))
        member = await broker.consume([unique], group=unique)
        await take(member, 5)
        await member.commit({at: 5})
        await member.close()
        caplog.clear()
        admin = AdminClient({"bootstrap.servers": kafka})
        await asyncio.to_thread(admin.delete_consumer_groups([unique])[unique].result, 30)
        with caplog.at_level(logging.WARNING, "inferstream"):
            member = await broker.consume([unique], group=unique)
            await take(member, 5)
            await member.close()
    said = f"has no offsets for {unique}: it reads the 5 records that are there. If the group is not new, its offsets"
    assert said in caplog.text


async def test_records_that_were_deleted_unread_are_counted(
    broker: Broker, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    at = TopicPartition(unique, 0)
    await broker.ensure_topics([TopicSpec(unique, 1)])
    for _ in range(5):
        await broker.publish(Message(unique, b"v"))
    member = await broker.consume([unique], group=unique)
    await take(member, 5)
    await member.commit({at: 1})
    await member.close()
    await delete_before(broker, at, 4)
    with caplog.at_level(logging.WARNING, "inferstream"):
        member = await broker.consume([unique], group=unique)
        await member.close()
    assert f"3 records of {unique} were deleted before the group {unique} has read them" in caplog.text


def test_a_name_that_two_members_share_is_told_from_a_member_that_was_away(clock: FakeClock) -> None:
    away, shared = Membership("g", "m", clock), Membership("g", "m", clock)
    for _ in range(2 * TIMES):
        away.was_unknown()
        clock.advance(WITHIN_S / 2)
    for _ in range(TIMES - 1):
        shared.was_unknown()
    with pytest.raises(BrokerError, match=r"another worker joins with this name.*--member"):
        shared.was_unknown()
    unnamed = Membership("g", None, clock)
    for _ in range(2 * TIMES):
        unnamed.was_unknown()


@pytest.mark.kafka
async def test_two_members_of_one_name_end_with_a_sentence(kafka: str, unique: str) -> None:
    config = KafkaConfig(bootstrap=kafka)
    at = TopicPartition(unique, 0)
    async with KafkaBroker(config) as one, KafkaBroker(config) as two:
        await one.ensure_topics([TopicSpec(unique, 1)])
        members = [await broker.consume([unique], group=unique, member="same") for broker in (one, two)]

        async def work() -> None:
            while True:
                for member in members:
                    await member.poll(10, 50)
                    await member.commit({at: 0})

        with pytest.raises(BrokerError, match=r"another worker joins with this name"):
            await asyncio.wait_for(work(), 60)
