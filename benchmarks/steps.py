"""What requests of many steps do to others, and how soon a cancel takes effect, counted in steps of the device.

    python benchmarks/steps.py 20      # repetitions

The task is `steps` with a step of 5 ms on a device that only sleeps; client, worker and an embedded broker are real, in
one process. A step is one run of the device, for any rows. A request counts from when its row waits for the
device until its last step has ended: what the rest of the way takes depends on the machine. Prints medians and the
worst of all repetitions.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from inferstream import Cancelled, Client
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import CacheConfig, Config, WindowConfig
from inferstream.pipeline.delivery.cancels import Cancels
from inferstream.pipeline.engine.batcher import Batcher
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.lab.chaos.faulty_steps import TimedSteps
from inferstream.pipeline.lab.steps import StepsModel
from inferstream.pipeline.lab.steps_serving import LIMITS, steps_serving

STEP_S = 0.005
LONG = 500
SHORT = "ABCDEFGH"
NEIGHBOR = "bcdefghi" * 12
CANCELLED = "\N{SNOWMAN}"


class Counting(TimedSteps):
    """Counts runs, and those that hold the row that a test cancels."""

    def __init__(self) -> None:
        super().__init__(STEP_S)
        self.runs = 0
        self.of_cancelled = 0
        self.short_ended = 0

    def run(self, feeds: Any) -> Any:
        made = super().run(feeds)
        self.runs += 1
        self.of_cancelled += bool((feeds["input_ids"] == ord(CANCELLED)).any())
        if (feeds["input_ids"] == ord(SHORT[-1])).any():
            self.short_ended = self.runs
        return made


@asynccontextmanager
async def served(limits: Limits = LIMITS) -> AsyncGenerator[tuple[Client, Counting]]:
    graph = Counting()
    config = Config(cache=CacheConfig(enabled=False), window=WindowConfig(drain_timeout_ms=1_000))
    async with EmbeddedBroker() as broker:
        serving = steps_serving(config, broker, StepsModel(graph), limits=limits)
        running = asyncio.create_task(serving.run())
        while not serving.ready:  # noqa: ASYNC110 - a worker has no event for it
            await asyncio.sleep(0.01)
        async with Client(broker=broker) as client:
            await client.request("steps", "warm")
            yield client, graph
        serving.drain()
        await running


class Noted:
    """Notes a number each time that a method of a class is called, before it runs."""

    def __init__(self, of: type, method: str, number: Callable[[], int]) -> None:
        self.at = 0
        original = getattr(of, method)

        def noted(*arguments: Any) -> Any:
            self.at = number()
            return original(*arguments)

        setattr(of, method, noted)
        self.undo = lambda: setattr(of, method, original)


async def runs_of(client: Client, graph: Counting, text: str = SHORT) -> tuple[int, float, bytes]:
    """The runs from when the row waits until it has ended, the milliseconds of the request, the answer's bytes."""
    put = Noted(Batcher, "put", lambda: graph.runs)
    began = time.perf_counter()
    answer = await client.request("steps", text, timeout_s=None)
    put.undo()
    return graph.short_ended - put.at, (time.perf_counter() - began) * 1e3, bytes(answer.reply.output)


async def beside(client: Client, graph: Counting, number: int) -> tuple[int, float, bytes]:
    """The same while a request of `LONG` steps runs."""
    long = asyncio.create_task(client.request("steps", "z" * LONG, id=f"long-{number}", timeout_s=None))
    await runs_more(graph, 20)
    measured = await runs_of(client, graph)
    assert not long.done()
    await client.cancel(f"long-{number}", task="steps")
    await asyncio.gather(long, return_exceptions=True)
    return measured


async def runs_more(graph: Counting, runs: int) -> None:
    enough = graph.runs + runs
    while graph.runs < enough:  # noqa: ASYNC110 - a thread counts
        await asyncio.sleep(0)


async def after_cancel(limits: Limits, *, queued: bool) -> tuple[int, bool]:
    """Runs of a cancelled row that ended after its cancel was read, and whether its neighbor's answer is the same."""
    async with served(limits) as (client, graph):
        _, _, alone = await runs_of(client, graph, NEIGHBOR)
        read = Noted(Cancels, "add", lambda: graph.of_cancelled)
        neighbor = asyncio.create_task(client.request("steps", NEIGHBOR, timeout_s=None))
        await runs_more(graph, 2)
        row = asyncio.create_task(client.request("steps", CANCELLED * LONG, id="c", timeout_s=None))
        if queued:
            await runs_more(graph, 20)
            assert not graph.of_cancelled
        while not queued and graph.of_cancelled < 5:  # noqa: ASYNC110 - a thread counts
            await asyncio.sleep(0)
        await client.cancel("c", task="steps")
        try:
            await row
        except Cancelled:
            answer = await neighbor
            read.undo()
            return graph.of_cancelled - read.at, bytes(answer.reply.output) == alone
        raise AssertionError("it was not cancelled")


def row(name: str, values: list[float], goal: str) -> None:
    print(f"{name:<62} {statistics.median(values):>8.4g} {max(values):>8.4g}   {goal}")


async def main(repetitions: int) -> None:
    alone, near = [], []
    async with served() as (client, graph):
        for number in range(repetitions):
            await asyncio.sleep(10 * STEP_S)  # the last run of the long one before has ended
            alone.append(await runs_of(client, graph))
            near.append(await beside(client, graph, number))
    running = [await after_cancel(LIMITS, queued=False) for _ in range(repetitions)]
    queued = [await after_cancel(Limits(4_096, 1, max_running=1), queued=True) for _ in range(repetitions)]
    print(f"{'':<62} {'median':>8} {'worst':>8}   goal")
    row(f"a request of {len(SHORT)} steps alone, steps", [runs for runs, _, _ in alone], "")
    row(f"the same beside one of {LONG} steps, steps", [runs for runs, _, _ in near], "")
    more = [float(one[0] - other[0]) for one, other in zip(near, alone, strict=True)]
    row("the second less the first, steps", more, "≤ 2")
    row("alone, ms", [ms for _, ms, _ in alone], "")
    row("beside, ms", [ms for _, ms, _ in near], "")
    row("a cancelled row that runs: steps after the cancel was read", [float(s) for s, _ in running], "≤ 1")
    row("one that waits: steps after the cancel was read", [float(s) for s, _ in queued], "0")
    same = all(same for _, same in running + queued) and {one[2] for one in alone} == {one[2] for one in near}
    print(f"{'answers of neighbors, byte for byte the same':<62} {'yes' if same else 'no':>8}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
