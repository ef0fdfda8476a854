"""Cancels and leases with real processes: what was cancelled stays so when a worker is killed, and nothing else is."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from support.noted_steps_worker import a_broker
from support.processes import Processes

from inferstream.pipeline.broker.base import Broker, Consumer, Message
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.lab.steps import StepsOutput
from inferstream.pipeline.serving.topics import topic_specs
from inferstream.schemas.cancels import Cancel
from inferstream.schemas.codec import decode_reply, encode
from inferstream.schemas.messages import Failure, Request, Result
from inferstream.schemas.topics import Topics

PATIENCE_S = 90
LONG = 20_000
"""Steps of a request that does not end within the test: 400 s."""


class Place:
    """The topics of `steps` on one broker, a file with all steps that ran, and the processes of a test."""

    def __init__(self, place: str, topics: Topics, notes: Path, broker: Broker) -> None:
        self.topics = topics
        self._place = place
        self._notes = notes
        self._broker = broker
        self._reader: Consumer | None = None
        self._replies: list[Result | Failure] = []
        self._processes = Processes()
        self.close = self._processes.kill

    async def open(self) -> None:
        await self._broker.ensure_topics(topic_specs(self.topics, KafkaConfig(partitions=2)))
        self._reader = await self._broker.consume([self.topics.replies])
        self._notes.touch()

    def start(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        return self._processes.start(program, self._place, self.topics.prefix, *arguments)

    def worker(self, *ending: str) -> "subprocess.Popen[bytes]":
        return self.start("noted_steps_worker", str(self._notes), *ending)

    async def ask(self, identity: str, text: str) -> None:
        body = encode(Request(text=text, id=identity))
        await self._broker.publish(Message(self.topics.requests, body, identity.encode()))

    async def cancel(self, identity: str) -> None:
        await self._broker.publish(Message(self.topics.cancels, encode(Cancel(identity)), identity.encode()))

    def steps(self, character: str) -> int:
        """How many steps for this character have run."""
        return self._notes.read_text().count(character)

    async def has_run(self, character: str, steps: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.steps(character) < steps:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)

    async def replies_to(self, identity: str, count: int = 1) -> list[Result | Failure]:
        """Wait for the first ``count`` replies to a request."""
        assert self._reader is not None
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [one for one in self._replies if one.id == identity]) < count:
                for record in await self._reader.poll(100, 200):
                    reply = decode_reply(record.value)
                    assert isinstance(reply, Result | Failure)
                    self._replies.append(reply)
        return found


@asynccontextmanager
async def a_place(where: str, prefix: str, notes: Path) -> AsyncIterator[Place]:
    async with a_broker(where) as broker:
        found = Place(where, Topics("steps", prefix), notes, broker)
        await found.open()
        try:
            yield found
        finally:
            await asyncio.to_thread(found.close)


@pytest.fixture
async def place(where: str, unique: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(where, unique, tmp_path / "notes") as found:
        yield found


def codes(replies: list[Result | Failure]) -> list[str]:
    return [one.code if isinstance(one, Failure) else "result" for one in replies]


def text_of(reply: Result | Failure) -> str:
    assert isinstance(reply, Result)
    return msgspec.json.decode(reply.output, type=StepsOutput).text


async def test_a_request_whose_worker_is_killed_before_it_is_cancelled_runs_no_step_more(
    place: Place,
) -> None:
    dying = place.worker()
    await place.ask("a", "x" * LONG)
    await place.has_run("x")
    dying.kill()
    await asyncio.to_thread(dying.wait)
    ran = place.steps("x")
    await place.cancel("a")
    await place.ask("b", "n" * 5)
    place.worker()
    assert codes(await place.replies_to("a")) == ["cancelled"]
    (reply,) = await place.replies_to("b")
    assert text_of(reply) == "nnnnn"
    assert place.steps("x") == ran


async def test_a_cancelled_request_that_is_read_again_stays_cancelled(place: Place) -> None:
    """The worker is killed when the Failure is durable, and before the offset is committed."""
    dying = place.worker("dies")
    await place.ask("a", "x" * LONG)
    await place.has_run("x")
    await place.cancel("a")
    assert await asyncio.to_thread(dying.wait, PATIENCE_S) == -signal.SIGKILL
    ran = place.steps("x")
    place.worker()
    assert codes(await place.replies_to("a", 2)) == ["cancelled", "cancelled"]
    assert place.steps("x") == ran


async def test_a_killed_clients_request_ends_after_its_lease_and_others_run_to_their_end(
    place: Place,
) -> None:
    place.worker()
    client = place.start("leasing_client", "x" * LONG)
    await place.has_run("x", 60)  # longer than the lease, which heartbeats keep
    await place.ask("free", "n" * 200)
    await place.has_run("n")
    client.kill()
    await asyncio.to_thread(client.wait)
    (ended,) = await place.replies_to("leased")
    assert isinstance(ended, Failure)
    assert (ended.code, "sent no heartbeat for 1 s" in ended.message) == ("cancelled", True)
    (reply,) = await place.replies_to("free")
    assert text_of(reply) == "n" * 200
    ran = place.steps("x")
    await place.ask("after", "m" * 5)
    await place.replies_to("after")
    assert place.steps("x") == ran


async def test_a_lease_also_ends_where_client_and_worker_are_killed(place: Place) -> None:
    """The next owner of the partition counts the lease from its own reading on."""
    dying = place.worker()
    client = place.start("leasing_client", "x" * LONG)
    await place.has_run("x")
    for process in (client, dying):
        process.kill()
        await asyncio.to_thread(process.wait)
    place.worker()
    (ended,) = await place.replies_to("leased")
    assert isinstance(ended, Failure)
    assert (ended.code, "sent no heartbeat for 1 s" in ended.message) == ("cancelled", True)
    assert len(await place.replies_to("leased")) == 1


@pytest.mark.kafka
async def test_a_broker_that_stalls_for_several_leases_ends_no_request(unique: str, tmp_path: Path) -> None:
    with LocalKafka(tmp_path / "kafka", port=0) as kafka:
        async with a_place(kafka.bootstrap, unique, tmp_path / "notes") as place:
            place.worker()
            place.start("leasing_client", "x" * 400)
            await place.has_run("x")
            kafka.suspend(1)
            try:
                await place.has_run("x", 300)  # 6 s: six leases
            finally:
                kafka.resume(1)
            (reply,) = await place.replies_to("leased")
            assert text_of(reply) == "x" * 400
