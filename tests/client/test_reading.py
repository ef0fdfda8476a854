"""A client says how far its streams are read: at its own pace, in few records, and of the whole answer that all is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from support.broker_contract import wait_until
from support.responder import TIMEOUT_S
from support.steps_worker import know_steps

from inferstream import Client
from inferstream.pipeline.broker.base import Message, TopicSpec
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.client import lease as leases
from inferstream.pipeline.client.reading import ALL, STEP, Reading
from inferstream.schemas.cancels import Heartbeat, decode_cancel
from inferstream.schemas.codec import encode
from inferstream.schemas.messages import Chunk
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    know_steps(monkeypatch)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with asyncio.timeout(TIMEOUT_S), EmbeddedBroker(tmp_path) as broker:
        await broker.ensure_topics(
            [TopicSpec(name, 4) for name in (TOPICS.requests, TOPICS.replies, TOPICS.cancels)]
        )
        yield broker


class Heard:
    """What the client has said of its streams, as a worker reads it."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self.records = 0
        self.read: dict[str, int] = {}

    async def listen(self) -> None:
        consumer = await self._broker.consume([TOPICS.cancels])
        while True:
            for record in await consumer.poll(100, 20):
                message = decode_cancel(record.value)
                if isinstance(message, Heartbeat) and message.read:
                    self.records += 1
                    self.read |= message.read


def a_chunk(identity: str, start: int, count: int) -> Message:
    output = msgspec.Raw(msgspec.json.encode(["x"] * count))
    chunk = Chunk(identity, start // count, "steps", "m", "1", from_=start, output=output)
    return Message(TOPICS.replies, encode(chunk), b"k")


async def test_a_client_says_how_far_it_has_read_and_that_it_has_read_nothing(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "READ_S", 60.0)  # so that only what has come or was read is said
    heard = Heard(broker)
    listening = asyncio.create_task(heard.listen())
    async with (
        Client(broker=broker) as client,
        client.stream("steps", "text", id="s1", lease_s=3600) as stream,
    ):
        await broker.publish(a_chunk("s1", 0, STEP - 1))
        assert [await anext(stream) for _ in range(STEP - 1)]
        await broker.publish(a_chunk("s1", STEP - 1, STEP - 1))
        await wait_until(lambda: heard.read == {"s1": STEP - 1})
        for _ in range(STEP - 1):
            await anext(stream)
        await broker.publish(a_chunk("s1", 2 * (STEP - 1), STEP - 1))
        for _ in range(STEP - 1):
            await anext(stream)
        await wait_until(lambda: heard.read["s1"] >= 2 * STEP - 1)
        waiting = asyncio.create_task(stream.answer())
        await wait_until(lambda: heard.read == {"s1": ALL})
        waiting.cancel()
    assert heard.records <= 4
    listening.cancel()


async def test_all_streams_are_named_again_and_again_while_they_are_pending(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a worker that has just taken them over knows it too. Many are named by several heartbeats."""
    monkeypatch.setattr(leases, "READ_S", 0.05)
    monkeypatch.setattr(leases, "MOST_READ", 2)
    heard = Heard(broker)
    listening = asyncio.create_task(heard.listen())
    async with Client(broker=broker) as client:
        streams = [client.stream("steps", "text", id=f"s{n}", lease_s=3600) for n in range(5)]
        plain = client.stream("steps", "text", id="without", lease_s=None)
        for stream in [*streams, plain]:
            await stream.__aenter__()
        await wait_until(lambda: heard.read == {f"s{n}": 0 for n in range(5)})
        records = heard.records
        await wait_until(lambda: heard.records >= records + 6)
        for stream in [*streams, plain]:
            await stream.__aexit__()
    listening.cancel()


def test_a_reading_says_when_it_has_moved_far_enough() -> None:
    moved: list[int] = []
    reading = Reading(lambda chunk: None)
    reading.moved = lambda: moved.append(reading.say())
    for _ in range(10 * STEP):
        reading.took()
    assert moved == [STEP * number for number in range(1, 11)]
    reading.took_all()
    reading.took_all()
    reading.took()
    assert moved[-1] == ALL
    assert len(moved) == 11


def test_that_nothing_is_read_is_said_once_when_much_has_come() -> None:
    moved: list[int] = []
    reading = Reading(lambda chunk: None)
    reading.moved = lambda: moved.append(reading.say())
    for pieces in range(1, 4 * STEP):
        reading.came(pieces)
    assert moved == [0]
