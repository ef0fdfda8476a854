"""A cancel between steps: a request that waits runs none, one that runs at most the one that has begun."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.broker_contract import wait_until
from support.steps_worker import steps_worker

from inferstream import Answer, Cancelled, Client, Superseded
from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.lab.steps import StepsOutput
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.serving.serving import Serving
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Failure, Reply
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")
PATIENCE_S = 30


class GatedGraph:
    """A graph whose runs each wait until the test allows them. ``began`` has the code points of each run."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self._session = FakeSession()
        self._gate = threading.Semaphore(0)
        self._open = threading.Event()

    def run(self, feeds: Any) -> Any:
        self.began.append("".join(map(chr, feeds["input_ids"].flatten())))
        if not self._open.is_set():
            assert self._gate.acquire(timeout=PATIENCE_S)
        return self._session.run(feeds)

    async def allow(self, runs: int = 1) -> None:
        """Let this many runs finish; returns when the next one has begun."""
        wanted = len(self.began) + runs
        for _ in range(runs):
            self._gate.release()
        await wait_until(lambda: len(self.began) >= wanted)

    def open(self) -> None:
        self._open.set()
        self._gate.release()


class StepsRig:
    def __init__(self, broker: Broker, client: Client, graph: GatedGraph, serving: Serving) -> None:
        self.broker = broker
        self.client = client
        self.graph = graph
        self.serving = serving

    def begin(self, text: str) -> "asyncio.Task[Answer[StepsOutput]]":
        """Ask for the text under its own id."""
        asking = self.client.request("steps", text, id=text[0], timeout_s=None, output=StepsOutput)
        return asyncio.create_task(asking)

    async def read(self, requests: int) -> None:
        """Wait until the worker has read this many requests that have not ended."""
        await wait_until(lambda: self.serving.worker.window.running == requests)


@asynccontextmanager
async def a_steps_rig(limits: Limits) -> AsyncIterator[StepsRig]:
    graph = GatedGraph()
    async with asyncio.timeout(PATIENCE_S), EmbeddedBroker() as broker:
        serving = steps_worker(broker, TOPICS, graph, limits=limits)
        running = asyncio.create_task(serving.run())
        await wait_until(lambda: serving.ready or running.done())
        try:
            async with Client(broker=broker) as client:
                yield StepsRig(broker, client, graph, serving)
        finally:
            graph.open()
            serving.drain()
            await running


async def test_a_running_request_takes_no_step_after_the_one_that_runs_and_its_neighbor_is_the_same() -> None:
    async with a_steps_rig(Limits(4_096, 64)) as rig:
        neighbor = rig.begin("bcdefghijklmnopq" * 3)
        await wait_until(lambda: len(rig.graph.began) == 1)
        cancelled = rig.begin("a" * 500)
        await rig.read(2)
        while "a" not in rig.graph.began[-1]:
            await rig.graph.allow()
        await rig.graph.allow(5)
        began = len(rig.graph.began)
        await rig.client.cancel("a", task="steps")
        with pytest.raises(Cancelled):  # at once: the run that has begun is not waited for
            await cancelled
        assert len(rig.graph.began) == began
        rig.graph.open()
        assert (await neighbor).output.text == "bcdefghijklmnopq" * 3
        assert not any("a" in run for run in rig.graph.began[began:])
        assert any("a" in run and len(run) > 1 for run in rig.graph.began), "they shared steps"


async def test_a_request_that_waits_takes_no_step() -> None:
    async with a_steps_rig(Limits(4_096, 1)) as rig:
        first = rig.begin("bcd")
        await wait_until(lambda: len(rig.graph.began) == 1)
        waiting = rig.begin("a" * 500)
        await rig.read(2)
        await rig.client.cancel("a", task="steps", reason="superseded")
        with pytest.raises(Superseded):
            await waiting
        rig.graph.open()
        assert (await first).output.text == "bcd"
        assert not any("a" in run for run in rig.graph.began)
        assert len(rig.graph.began) == 4, (
            "the start and three steps of the other one, and no start of this one"
        )


async def test_a_task_that_is_cancelled_in_python_stops_its_steps() -> None:
    async with a_steps_rig(Limits(4_096, 64)) as rig:
        left = rig.begin("a" * 500)
        await wait_until(lambda: len(rig.graph.began) == 1)
        await rig.graph.allow(5)
        left.cancel()
        await asyncio.wait([left])
        await rig.read(0)
        began = len(rig.graph.began)
        rig.graph.open()
        answer = await rig.begin("bcd")
        assert answer.output.text == "bcd"
        assert not any("a" in run for run in rig.graph.began[began:])


async def test_the_failure_of_a_stream_that_is_cancelled_has_the_number_behind_its_chunks() -> None:
    async with a_steps_rig(Limits(4_096, 64)) as rig:
        stream = rig.client.stream("steps", "a" * 500, id="a", timeout_s=None)
        reader = await rig.broker.consume([TOPICS.replies])
        async with stream:
            asking = asyncio.create_task(anext(stream))
            while not asking.done():
                await rig.graph.allow()
            await rig.client.cancel("a", task="steps")
            with pytest.raises(Cancelled):
                async for _ in stream:
                    pass
        replies: list[Reply] = []
        while not replies or not isinstance(replies[-1], Failure):
            replies += [decode_reply(record.value) for record in await reader.poll(100, 100)]
        assert [reply.seq for reply in replies] == list(range(len(replies)))
        assert len(replies) >= 2
