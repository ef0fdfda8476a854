"""Retention deletes by age, and never what a group has not read, whatever the clock does."""

from pathlib import Path

import pytest
from support.broker_contract import take

from inferstream.pipeline.broker.base import Message, TopicPartition, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.embedded.database import Database
from inferstream.pipeline.broker.embedded.retention import Retention

AT = TopicPartition("t", 0)
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
SPEC = TopicSpec("t", 1, retention_ms=HOUR_MS)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
def steady() -> Clock:
    return Clock()


def broker_at(folder: Path, wall: Clock, steady: Clock) -> EmbeddedBroker:
    return EmbeddedBroker(folder, clock_ms=wall, steady_ms=steady)


async def readable(broker: EmbeddedBroker, count: int) -> list[bytes | None]:
    """The values of the records that a new reader gets; it must get ``count``."""
    reader = await broker.consume(["t"])
    found = await take(reader, count)
    assert list(await reader.poll(10, 20)) == []
    return [record.value for record in found]


@pytest.mark.parametrize("step_ms", [2 * HOUR_MS, YEAR_MS])
async def test_a_clock_that_steps_ahead_deletes_nothing(
    tmp_path: Path, wall: Clock, steady: Clock, step_ms: int
) -> None:
    async with broker_at(tmp_path, wall, steady) as broker:
        await broker.ensure_topics([SPEC])
        await broker.publish(Message("t", b"old"))
        wall.now += step_ms
        for _ in range(3):  # retention runs with each of these
            steady.now += 20_000
            wall.now += 20_000
            await broker.publish(Message("t", b"new"))
        assert await readable(broker, 4) == [b"old", b"new", b"new", b"new"]


async def test_a_clock_that_steps_back_and_ahead_again_deletes_nothing(
    tmp_path: Path, wall: Clock, steady: Clock
) -> None:
    async with broker_at(tmp_path, wall, steady) as broker:
        await broker.ensure_topics([SPEC])
        for step_ms in (-YEAR_MS, 2 * YEAR_MS, -YEAR_MS):
            await broker.publish(Message("t", b"v"))
            wall.now += step_ms
            steady.now += 20_000
        await broker.publish(Message("t", b"v"))
        assert len(await readable(broker, 4)) == 4


async def test_what_a_group_has_not_read_outlives_its_retention_and_a_restart(
    tmp_path: Path, wall: Clock, steady: Clock
) -> None:
    async with broker_at(tmp_path, wall, steady) as broker:
        await broker.ensure_topics([SPEC])
        member = await broker.consume(["t"], group="g")
        for value in (b"read", b"unread"):
            await broker.publish(Message("t", value))
            await take(member, 1)
        await member.commit({AT: 1})
    wall.now += YEAR_MS
    async with broker_at(tmp_path, wall, steady) as broker:
        assert await readable(broker, 1) == [b"unread"]
        member = await broker.consume(["t"], group="g")
        await take(member, 1)
        await member.commit({AT: 2})
    async with broker_at(tmp_path, wall, steady) as broker:
        assert await readable(broker, 0) == []


async def test_a_group_that_never_committed_has_read_nothing(
    tmp_path: Path, wall: Clock, steady: Clock
) -> None:
    async with broker_at(tmp_path, wall, steady) as broker:
        await broker.ensure_topics([SPEC])
        await broker.consume(["t"], group="g")
    async with broker_at(tmp_path, wall, steady) as broker:
        await broker.publish(Message("t", b"v"))
    wall.now += YEAR_MS
    async with broker_at(tmp_path, wall, steady) as broker:
        assert await readable(broker, 1) == [b"v"]


async def test_retention_of_minus_one_keeps_everything(tmp_path: Path, wall: Clock) -> None:
    async with broker_at(tmp_path, wall, wall) as broker:
        await broker.ensure_topics([SPEC._replace(retention_ms=-1)])
        await broker.publish(Message("t", b"v"))
    wall.now += YEAR_MS
    async with broker_at(tmp_path, wall, wall) as broker:
        assert await readable(broker, 1) == [b"v"]


async def test_retention_on_a_full_disk_waits(
    tmp_path: Path, wall: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker_at(tmp_path, wall, wall) as broker:
        await broker.ensure_topics([SPEC])
        await broker.publish(Message("t", b"v"))
    database = Database(tmp_path)
    await database.open()
    try:
        await database.run(lambda: database.connection.execute("PRAGMA query_only = 1"))
        wall.now += YEAR_MS
        await database.run(Retention(database, wall, wall).run)
    finally:
        await database.close()
    assert "cannot be deleted yet" in caplog.text
