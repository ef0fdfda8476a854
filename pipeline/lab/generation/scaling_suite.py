"""One, two and four workers whose devices are the limit."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from msgspec import Struct

from ...config import KafkaConfig
from ...models.registry import ModelRegistry
from ..bench.bench import Bench, Progress
from ..bench.rounds import rotated
from . import sleeping_generator
from .bench_prompt import BenchPrompts
from .bench_workers import BenchWorkers, config_for
from .generating_system import streamed
from .over_kafka import OverKafka

FLEETS: Final = {"1-worker": 1, "2-workers": 2, "4-workers": 4}


class ScalingEffort(Struct, frozen=True):
    """How much is measured: for each worker ``streams`` of ``count`` tokens, ``waiting`` of them at the same time."""

    rounds: int = 6
    streams: int = 48
    count: int = 16
    waiting: int = 24
    prompt: int = 12


QUICK_SCALING: Final = ScalingEffort(rounds=1, streams=10, count=4, waiting=10)


class ScalingSuite:
    """Measures the fleets on one Kafka."""

    def __init__(self, bench: Bench, model: str, effort: ScalingEffort, progress: Progress) -> None:
        self._bench = bench
        self._manifest = ModelRegistry().load(model)
        self._effort = effort
        self._progress = progress

    async def measure(self) -> list[dict[str, float]]:
        """The tokens per second of each fleet, in each round: without the first and the last fifth of the tokens."""
        self._progress.begin(2 + self._effort.rounds * len(FLEETS))
        self._progress.turn("starting workers with devices that sleep")
        async with AsyncExitStack() as stack:
            systems = await BenchWorkers(self._bench, stack).start(
                dict.fromkeys(FLEETS, self._command), FLEETS
            )
            rounds = []
            for number in range(self._effort.rounds):
                found: dict[str, float] = {}
                for name in rotated(list(FLEETS), number):
                    self._progress.turn(f"{name}, round {number + 1} of {self._effort.rounds}")
                    found[name] = await self._steady_per_s(systems[name], FLEETS[name], number)
                rounds.append(found)
        return rounds

    async def _steady_per_s(self, system: OverKafka, workers: int, number: int) -> float:
        prompts, effort = BenchPrompts(self._manifest), self._effort
        room = asyncio.Semaphore(effort.waiting * workers)

        async def one(stream: int) -> list[float]:
            prompt = prompts.of_length(effort.prompt, number * 1_000 + stream)
            async with room:
                return await streamed(system, prompt, effort.count)

        return steady_per_s(await asyncio.gather(*map(one, range(effort.streams * workers))))

    def _command(self, kafka: KafkaConfig) -> list[str]:
        config = config_for(self._manifest, kafka, sleeping_generator.MAX_ROWS)
        return sleeping_generator.command(config)


def steady_per_s(streams: Sequence[Sequence[float]]) -> float:
    """Tokens per second between the first and the last fifth of all, while no worker has run out of requests."""
    times = sorted(at for stream in streams for at in stream)
    first, last = len(times) // 5, len(times) * 4 // 5
    return (last - first) / (times[last] - times[first])
