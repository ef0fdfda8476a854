"""An idle consumer asks the broker seldom, and reads what comes all the same."""

from types import SimpleNamespace

import pytest

from inferstream.pipeline.broker.base import Message, TopicPartition, TopicSpec
from inferstream.pipeline.broker.kafka import fetch_wait
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.broker.kafka.consumer import KafkaConsumer
from inferstream.pipeline.broker.kafka.fetch_wait import LONG_WAIT_MS, QUIET_S, SHORT_WAIT_MS, FetchWait
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import KafkaConfig


def test_fetches_wait_longer_when_nothing_has_come_for_a_while() -> None:
    clock = FakeClock()
    fetcher = SimpleNamespace(_fetch_max_wait_ms=SHORT_WAIT_MS)
    wait = FetchWait(SimpleNamespace(_fetcher=fetcher), clock)
    found = []
    for seconds, busy in [(0, False), (QUIET_S + 1, False), (1, True), (QUIET_S - 1, False), (2, False)]:
        clock.advance(seconds)
        wait.polled(busy=busy)
        found.append(fetcher._fetch_max_wait_ms)
    assert found == [SHORT_WAIT_MS, LONG_WAIT_MS, SHORT_WAIT_MS, SHORT_WAIT_MS, LONG_WAIT_MS]


@pytest.mark.kafka
async def test_a_quiet_consumer_reads_what_comes(
    kafka: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_wait, "QUIET_S", -1.0)
    at = TopicPartition(unique, 0)
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        consumer = await broker.consume([unique])
        assert isinstance(consumer, KafkaConsumer)
        fetcher = consumer._consumer._fetcher
        assert fetcher._fetch_max_wait_ms == SHORT_WAIT_MS  # as long as aiokafka calls it so
        assert not await consumer.poll(1, 0)
        assert fetcher._fetch_max_wait_ms == LONG_WAIT_MS
        for value in (b"1", b"2"):
            await broker.publish(Message(unique, value))
            records = []
            while not records:
                records = list(await consumer.poll(1, 100))
            assert records[0].value == value
        consumer.pause([at])
        monkeypatch.setattr(fetch_wait, "QUIET_S", QUIET_S)
        await consumer.poll(1, 0)
        assert fetcher._fetch_max_wait_ms == SHORT_WAIT_MS
