"""A clock that differs from Kafka's is told, a slow acknowledgement is not taken for one."""

import logging

import pytest

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.kafka import writers
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.broker.kafka.skew import REPEAT_S, ClockSkew
from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import KafkaConfig


@pytest.mark.parametrize(
    ("sent", "appended", "acknowledged", "said"),
    [
        (10_000, 10_001, 10_002, None),
        (10_000, 10_000, 70_000, None),
        (10_000, 70_000, 70_000, None),
        (10_000, 11_900, 10_002, None),
        (10_000, 15_002, 10_002, "5.0 s behind Kafka's"),
        (10_000, 4_000, 10_002, "6.0 s ahead of Kafka's"),
        (10_000, 4_000, 99_000, "6.0 s ahead of Kafka's"),
    ],
)
def test_a_difference_is_told(
    sent: int, appended: int, acknowledged: int, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    ClockSkew().observe(sent, appended, acknowledged)
    assert (said in caplog.text) if said else not caplog.text


def test_it_is_told_once_in_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    skew = ClockSkew(clock)
    for _ in range(5):
        skew.observe(0, 60_000, 1)
    assert len(caplog.records) == 1
    clock.advance(REPEAT_S)
    skew.observe(0, 60_000, 1)
    assert len(caplog.records) == 2


@pytest.mark.kafka
@pytest.mark.parametrize(("step_ms", "said"), [(3_600_000, "ahead of"), (-3_600_000, "behind"), (0, None)])
async def test_kafka_tells_its_time(
    kafka: str,
    unique: str,
    step_ms: int,
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="inferstream")
    true_ms = writers._now_ms
    monkeypatch.setattr(writers, "_now_ms", lambda: true_ms() + step_ms)
    async with KafkaBroker(KafkaConfig(bootstrap=kafka)) as broker:
        await broker.ensure_topics([TopicSpec(unique, 1)])
        await broker.publish(Message(unique, b"v"))
    if said:
        assert f"s {said} Kafka's" in caplog.text
    else:
        assert "The clock of this machine" not in caplog.text
