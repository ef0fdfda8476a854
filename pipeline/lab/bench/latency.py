"""Requests at a steady rate, whatever the answers do: the latency that a caller sees."""

import asyncio
import time
from collections.abc import Sequence

from msgspec import Struct

from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer
from ...errors import Timeout
from .runs import Bench, Child, request_message

LOST_S = 60


class Paced(Struct, frozen=True):
    """What came of requests at a steady rate. ``per_s`` is what was answered until the last answer."""

    per_s: float
    latencies_ms: list[float]


class Stopwatch:
    """Sends numbered requests and notes when each one's reply is read."""

    def __init__(self, broker: Broker, topics: Topics, replies: Consumer) -> None:
        self._broker, self._topics, self._replies = broker, topics, replies
        self._sent: dict[str, float] = {}
        self.latencies_ms: dict[int, float] = {}

    def send(self, number: int, text: str) -> None:
        self._sent[str(number)] = time.perf_counter()
        self._broker.publish(request_message(self._topics, number, text))

    async def read(self, wanted: int) -> None:
        """Read until ``wanted`` requests are answered. Raises Timeout when nothing comes for a minute."""
        heard = time.monotonic()
        while len(self.latencies_ms) < wanted:
            for record in await self._replies.poll(1_000, 500):
                heard = time.monotonic()
                identity = (record.key or b"").decode()
                if (sent := self._sent.pop(identity, None)) is not None:
                    self.latencies_ms[int(identity)] = (time.perf_counter() - sent) * 1e3
            if time.monotonic() - heard > LOST_S:
                raise Timeout(f"{len(self._sent)} requests were not answered within {LOST_S} s.")


async def paced(bench: Bench, texts: Sequence[str], per_s: float, child: Child) -> Paced:
    """Send ``texts`` at ``per_s`` and measure each one's time from its send to its reply.

    The schedule does not wait for answers: a system that falls behind shows it as latency.
    """
    config, topics = await bench.fresh()
    replies = await bench.broker.consume([topics.replies])
    try:
        with child(config):
            warm = Stopwatch(bench.broker, topics, replies)
            warm.send(-1, texts[0])
            await warm.read(1)
            return await _measure(Stopwatch(bench.broker, topics, replies), texts, per_s)
    finally:
        await replies.close()


async def _measure(watch: Stopwatch, texts: Sequence[str], per_s: float) -> Paced:
    began = time.perf_counter()
    watch.send(0, texts[0])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch.read(len(texts)))
        for number, text in enumerate(texts[1:], 1):
            await asyncio.sleep(began + number / per_s - time.perf_counter())
            watch.send(number, text)
    seconds = time.perf_counter() - began
    return Paced(len(texts) / seconds, [watch.latencies_ms[number] for number in range(len(texts))])
