"""Workers announce what they have on a topic, and learn there what the others have."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from support.kafka_serving import until

from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.delivery import announcing
from inferstream.pipeline.delivery.announcing import Announcer
from inferstream.schemas.members import MAX_ANNOUNCEMENT_BYTES

SPEC = TopicSpec("echo.members", 1, compacted=True)
PATIENCE_S = 20


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker() as opened:
        yield opened


@asynccontextmanager
async def announcing_as(
    broker: EmbeddedBroker, name: str, models: list[str], spec: TopicSpec = SPEC
) -> AsyncIterator[Announcer]:
    announcer = Announcer(broker, spec, (name, "g"), lambda: models, lambda: [0])
    task = asyncio.create_task(announcer.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield announcer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_learns_what_the_others_have_and_that_they_leave(broker: EmbeddedBroker) -> None:
    of_a = ["old"]
    async with announcing_as(broker, "a", of_a) as first:
        async with announcing_as(broker, "b", ["old", "new"]) as second:

            async def both() -> bool:
                return sorted(first.members.living) == sorted(second.members.living) == ["a", "b"]

            await until(both)
            assert second.members.lacking("new") == ["a"]
            of_a.append("new")

            async def eligible() -> bool:
                return second.members.lacking("new") == []

            await until(eligible)

        async def left() -> bool:
            return first.members.living == ["a"]

        await until(left)


async def test_other_records_on_the_topic_are_passed_over(broker: EmbeddedBroker) -> None:
    await broker.ensure_topics([SPEC])
    for value in (b"", b"not json", b"[" * 9_000):
        await broker.publish(Message(SPEC.name, value))
    async with announcing_as(broker, "a", ["m"]) as announcer:

        async def known() -> bool:
            return announcer.members.living == ["a"]

        await until(known)


async def test_a_worker_with_too_many_names_announces_some_of_them(broker: EmbeddedBroker) -> None:
    names = [f"model-{number:05d}" for number in range(5_000)]
    async with announcing_as(broker, "a", names) as announcer:

        async def known() -> bool:
            return announcer.members.living == ["a"]

        await until(known)
        assert announcer.members.lacking(names[0]) == []
        reader = await broker.consume([SPEC.name])
        (record,) = await reader.poll(1, 1_000)
        assert len(record.value or b"") <= MAX_ANNOUNCEMENT_BYTES
        await reader.close()


async def test_a_topic_that_cannot_be_used_is_logged_and_tried_again(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(announcing, "AGAIN_S", 0.01)
    await broker.ensure_topics([TopicSpec(SPEC.name, 1)])
    async with announcing_as(broker, "a", ["m"], SPEC._replace(partitions=2)) as announcer:

        async def told() -> bool:
            return caplog.text.count("The members of the group are not known") >= 2

        await until(told)
        assert announcer.members.living == []
