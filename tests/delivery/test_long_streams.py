"""A long answer in pieces holds up neither its partition nor the end of its worker."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.steps_rig import until
from support.steps_worker import SlowSession, know_steps, steps_worker

from inferstream import Client
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.delivery.slots import Slot
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.graph import Graph
from inferstream.pipeline.serving.serving import Serving
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")
PATIENCE_S = 60


class GatedGraph:
    """Steps that make this character wait for the gate; all else runs."""

    def __init__(self, character: str) -> None:
        self.gate = threading.Event()
        self._held = ord(character)
        self._session = FakeSession()

    def run(self, feeds: Any) -> Any:
        if (feeds["input_ids"] == self._held).any():
            assert self.gate.wait(PATIENCE_S)
        self._session.runs.clear()
        return self._session.run(feeds)


class Rig:
    """A broker that stays, and workers one after the other."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker

    @asynccontextmanager
    async def worker(self, graph: Graph | None = None) -> AsyncIterator[Serving]:
        """Drained at the end."""
        serving = steps_worker(self.broker, TOPICS, graph or FakeSession())
        for one in serving.of_tasks:
            await self.broker.ensure_topics(one.specs)
        running = asyncio.create_task(serving.run())
        yield serving
        serving.drain()
        await running


def slots(window: Window) -> list[Slot]:
    return [slot for queue in window._of(None) for slot in queue.slots]


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    know_steps(monkeypatch)
    async with asyncio.timeout(PATIENCE_S), EmbeddedBroker() as broker:
        yield Rig(broker)


async def test_requests_behind_a_long_stream_are_answered_and_it_is_handed_over(rig: Rig) -> None:
    """All have one key, so one partition; their order does not matter. The worker ends although the stream does not."""
    long = "ab" * 1_500
    read: list[str] = []

    async def stream(client: Client) -> None:
        async with client.stream("steps", long, timeout_s=None) as stream:
            async for piece in stream:
                read.append(piece)  # noqa: PERF401 - it is looked at meanwhile

    async with Client(broker=rig.broker) as client:
        async with rig.worker(SlowSession()) as serving:
            reading = asyncio.create_task(stream(client))
            await until(lambda: len(read) >= 10)
            answers = [
                await client.request("steps", f"short {number}", timeout_s=None) for number in range(60)
            ]
            assert [one.output.text for one in answers] == [f"short {number}" for number in range(60)]
            assert not reading.done(), "it was not waited for"
            assert serving.engine.resumes("steps")
        assert len(read) < len(long), "the worker has ended before its stream"
        async with rig.worker():
            await reading
    assert "".join(read) == long
    report = await audit(rig.broker, Audited(TOPICS), clock=lambda: 4e9)
    assert (report.requests, report.resumed, report.torn, report.repeated_pieces) == (61, 1, 0, 0)
    assert not report.lost


async def test_later_requests_of_the_key_go_with_it_and_are_answered_in_order(rig: Rig) -> None:
    graph = GatedGraph("!")
    async with Client(broker=rig.broker) as client:

        async def ask(text: str) -> None:
            assert (await client.request("steps", text, key=b"k", timeout_s=None)).output.text == text

        async def read() -> None:
            async with client.stream("steps", "ab" * 50 + "!" + "cd", key=b"k", timeout_s=None) as stream:
                assert "".join([piece async for piece in stream]) == "ab" * 50 + "!" + "cd"

        async with rig.worker(graph) as first:
            asked = [asyncio.create_task(read())]
            window = first.of_tasks[0].worker.window
            await until(lambda: window.running == 1)
            asked.append(asyncio.create_task(ask("later")))
            await until(lambda: len(slots(window)) == 2)
            first.drain()
            await until(lambda: all(slot.left for slot in slots(window)))
            graph.gate.set()
        async with rig.worker():
            await asyncio.gather(*asked)
    report = await audit(rig.broker, Audited(TOPICS), clock=lambda: 4e9)
    assert (report.requests, report.results, report.lost, report.out_of_order) == (2, 2, False, 0)


async def test_a_stream_that_hands_over_again_and_again_ends(rig: Rig) -> None:
    text = "abcdefghij" * 40
    read: list[str] = []
    async with Client(broker=rig.broker) as client:

        async def stream() -> None:
            async with client.stream("steps", text, timeout_s=None) as stream:
                async for piece in stream:
                    read.append(piece)  # noqa: PERF401 - it is looked at meanwhile

        reading = asyncio.create_task(stream())
        for _ in range(4):
            async with rig.worker(SlowSession()):
                wanted = len(read) + 20
                await until(lambda: len(read) >= wanted)  # noqa: B023 - awaited at once
        async with rig.worker():
            await reading
    assert "".join(read) == text
    report = await audit(rig.broker, Audited(TOPICS), clock=lambda: 4e9)
    assert (report.torn, report.repeated_pieces, report.results, report.lost) == (0, 0, 1, False)
