"""Requests of many steps through worker and client: deadlines, priorities, tenants, and steps that fail."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.broker_contract import wait_until
from support.steps_worker import LIMITS, know_steps, steps_worker

from inferstream import Client, DeadlineExceeded, DeviceError, InferstreamError
from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.errors import DeviceOutOfMemory, DeviceUnavailable
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.serving.serving import Serving
from inferstream.schemas.codec import decode_reply, encode
from inferstream.schemas.messages import Chunk, Failure, Request, Result
from inferstream.schemas.topics import Header, Topics

TOPICS = Topics("steps")
PATIENCE_S = 30
NEIGHBOR = "bcdefghijklmnopq" * 4


class RuledGraph:
    """A graph that asks a rule before each run: the rule gets the characters, and may raise or wait."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.rule: Callable[[str], None] = lambda _: None
        self.go_on = threading.Event()
        self._session = FakeSession()

    def hold(self, character: str) -> None:
        """Hold the run that makes the character, until `go_on`."""

        def rule(made: str) -> None:
            if character in made:
                assert self.go_on.wait(PATIENCE_S)

        self.rule = rule

    def run(self, feeds: Any) -> Any:
        made = "".join(chr(code) for code in feeds["input_ids"].flatten() if code)
        self.runs.append(made)
        self.rule(made)
        return self._session.run(feeds)


class Streams:
    """A client, the worker that serves it, and the graph that the worker runs."""

    def __init__(self, client: Client, broker: EmbeddedBroker, graph: RuledGraph, serving: Serving) -> None:
        self.client = client
        self.broker = broker
        self.graph = graph
        self.serving = serving
        self.read: dict[str, str] = {}

    async def stream(self, text: str, **how: Any) -> str:
        """The joined pieces, equal to the answer."""
        self.read[text] = ""
        async with self.client.stream("steps", text, timeout_s=None, **how) as stream:
            async for piece in stream:
                self.read[text] += piece
            assert (await stream.answer()).output.text == self.read[text]
        return self.read[text]

    def begin(self, text: str, **how: Any) -> "asyncio.Task[str]":
        return asyncio.create_task(self.stream(text, **how))

    async def waiting(self, rows: int) -> None:
        """Wait until this many rows wait for the lane."""
        (device,) = self.serving.engine.devices
        await wait_until(lambda: len(device.batcher) == rows)


@asynccontextmanager
async def served(limits: Limits = LIMITS) -> AsyncGenerator[Streams]:
    graph = RuledGraph()
    async with asyncio.timeout(PATIENCE_S), EmbeddedBroker() as broker:
        serving = steps_worker(broker, TOPICS, graph, limits=limits)
        running = asyncio.create_task(serving.run())
        await wait_until(lambda: serving.ready or running.done())
        try:
            async with Client(broker=broker) as client:
                yield Streams(client, broker, graph, serving)
        finally:
            graph.go_on.set()
            serving.drain()
            await running


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    know_steps(monkeypatch)


async def test_a_deadline_ends_a_request_between_two_steps_and_its_neighbor_is_whole() -> None:
    async with served() as streams:
        streams.graph.hold("!")
        neighbor = streams.begin(NEIGHBOR)
        expires = time.time() + 1
        header = (Header.DEADLINE_MS, b"%d" % round(expires * 1e3))
        body = encode(Request(text="a" * 10 + "!" + "z" * 10, id="late", stream=True))
        replies = await streams.broker.consume([TOPICS.replies])
        await streams.broker.publish(Message(TOPICS.requests, body, b"late", (header,)))
        told = ""
        while True:
            found = [decode_reply(record.value) for record in await replies.poll(100, 100)]
            mine = [one for one in found if one.id == "late"]
            told += "".join(bytes(one.output).decode() for one in mine if isinstance(one, Chunk))
            if ends := [one for one in mine if not isinstance(one, Chunk)]:
                break
        (end,) = ends
        assert isinstance(end, Failure)
        assert end.code == DeadlineExceeded.code
        assert told.count("a") == 10, "it was told what it had made"
        streams.graph.go_on.set()
        assert await neighbor == NEIGHBOR
        assert not any("z" in run for run in streams.graph.runs)
        await replies.close()


async def test_the_more_urgent_of_those_that_wait_begins_first() -> None:
    async with served(Limits(4_096, 1, max_running=1)) as streams:
        streams.graph.hold("a")
        first = streams.begin("aa")
        await wait_until(lambda: bool(streams.graph.runs))
        low = streams.begin("lll", priority="low")
        await streams.waiting(1)
        high = streams.begin("hhh", priority="high")
        await streams.waiting(2)
        streams.graph.go_on.set()
        assert await asyncio.gather(first, low, high) == ["aa", "lll", "hhh"]
        made = "".join(streams.graph.runs)
        assert made.index("h") < made.index("l")


async def test_tenants_take_turns() -> None:
    async with served(Limits(4_096, 1, max_running=1)) as streams:
        streams.graph.hold("!")
        first = streams.begin("!!", tenant="many")
        await wait_until(lambda: bool(streams.graph.runs))
        many = [streams.begin(character * 5, tenant="many") for character in "abcdefgh"]
        await streams.waiting(8)
        few = streams.begin("xxxxx", tenant="few")
        await streams.waiting(9)
        streams.graph.go_on.set()
        assert await few == "xxxxx"
        await asyncio.gather(first, *many)
        made = "".join(streams.graph.runs)
        assert sum(made.index("x") > made.index(character) for character in "abcdefgh") <= 2


@pytest.mark.parametrize("error", [DeviceError, DeviceOutOfMemory])
async def test_a_step_that_fails_ends_its_stream_alone(error: type[InferstreamError]) -> None:
    async with served() as streams:

        def rule(made: str) -> None:
            if "!" in made:
                raise error("The device cannot make this character.")

        streams.graph.rule = rule
        neighbors = [streams.begin(NEIGHBOR + end) for end in "xyz"]
        with pytest.raises(error):
            await streams.stream("aaaaaaaaaa!aaaa")
        assert streams.read["aaaaaaaaaa!aaaa"] in ("a" * count for count in range(11))
        assert await asyncio.gather(*neighbors) == [NEIGHBOR + end for end in "xyz"]


async def test_steps_of_too_many_rows_for_the_memory_run_in_halves() -> None:
    async with served() as streams:

        def rule(made: str) -> None:
            if len(made) > 2:
                raise DeviceOutOfMemory("Two rows fit.")

        streams.graph.rule = rule
        texts = [character * 3 + NEIGHBOR for character in "rstuv"]
        assert await asyncio.gather(*map(streams.begin, texts)) == texts
        assert any(len(run) > 2 for run in streams.graph.runs)


@pytest.mark.parametrize("key", [None, b"k"], ids=["through a retry topic", "in place"])
async def test_a_device_that_is_away_for_some_steps_leaves_no_gap(key: bytes | None) -> None:
    async with served() as streams:
        away = iter([True, True])

        def rule(made: str) -> None:
            if "!" in made and next(away, False):
                raise DeviceUnavailable("The device is away: try again.")

        streams.graph.rule = rule
        neighbor = streams.begin(NEIGHBOR)
        assert await streams.stream("abcdefghij!klm", key=key) == "abcdefghij!klm"
        assert await neighbor == NEIGHBOR


async def test_a_caller_that_leaves_its_loop_ends_its_steps_and_no_others() -> None:
    async with served() as streams:
        streams.graph.rule = lambda _: time.sleep(0.001)
        neighbor = streams.begin(NEIGHBOR * 4)
        same = streams.begin("s" * 200)
        async with streams.client.stream("steps", "a" * 20_000, timeout_s=None) as left:
            for _ in range(20):
                assert await anext(left) == "a"
        async with streams.client.stream("steps", "s" * 200, timeout_s=None) as equal:
            assert await anext(equal) == "s"
        await wait_until(lambda: not any("a" in run for run in streams.graph.runs[-3:]))
        assert await asyncio.gather(neighbor, same) == [NEIGHBOR * 4, "s" * 200]
        await wait_until(lambda: streams.serving.worker.window.running == 0)
        replies = await streams.broker.consume([TOPICS.replies])
        ends: list[Result | Failure] = []
        while records := await replies.poll(1_000, 100):
            found = [decode_reply(record.value) for record in records]
            ends += [one for one in found if not isinstance(one, Chunk)]
        assert sum(isinstance(one, Result) for one in ends) in (2, 3), "the equal one may have ended before"
        assert {one.code for one in ends if isinstance(one, Failure)} == {"cancelled"}
        await replies.close()
