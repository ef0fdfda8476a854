"""Whether a text depends on its company, or on how its prompt is read: streams alone, together, and cut otherwise."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from msgspec import Struct

from ...config import KafkaConfig
from ...models.registry import ModelRegistry
from ..bench.bench import Bench, Progress
from . import endless_worker
from .bench_prompt import BenchPrompt, BenchPrompts
from .bench_workers import BenchWorkers, config_for
from .over_kafka import OverKafka

USUAL: Final = "usual-chunks"
OTHER: Final = "other-chunks"
OTHER_CHUNK: Final = 16
AT_ONCE: Final = 32
ROWS: Final = 8


class ExactEffort(Struct, frozen=True):
    """How many streams of how many tokens. The prompts have ``shortest`` to ``longest`` tokens."""

    streams: int = 200
    count: int = 16
    shortest: int = 5
    longest: int = 204


QUICK_EXACT: Final = ExactEffort(streams=8, count=6, longest=90)


class ExactMeasurements(Struct, frozen=True):
    """How many streams differ from those that ran alone."""

    streams: int
    in_company: int
    other_chunks: int


class ExactSuite:
    """Compares the tokens of each stream, on one Kafka."""

    def __init__(self, bench: Bench, model: str, effort: ExactEffort, progress: Progress) -> None:
        self._bench = bench
        self._manifest = ModelRegistry().load(model)
        self._effort = effort
        self._progress = progress

    async def measure(self) -> ExactMeasurements:
        """Each stream three times."""
        self._progress.begin(4)
        self._progress.turn("starting the workers")
        async with AsyncExitStack() as stack:
            chunks = {USUAL: None, OTHER: OTHER_CHUNK}
            systems = await BenchWorkers(self._bench, stack).start(
                {name: partial(self._command, chunk) for name, chunk in chunks.items()}
            )
            prompts = self._prompts()
            self._progress.turn(f"{len(prompts)} streams, one at a time")
            alone = await self._all(systems[USUAL], prompts, 1)
            self._progress.turn("the same, together")
            together = await self._all(systems[USUAL], prompts, AT_ONCE)
            self._progress.turn("the same, read in other chunks")
            otherwise = await self._all(systems[OTHER], prompts, AT_ONCE)
        return ExactMeasurements(len(prompts), _differing(alone, together), _differing(alone, otherwise))

    async def _all(self, system: OverKafka, prompts: Sequence[BenchPrompt], at_once: int) -> list[list[int]]:
        room = asyncio.Semaphore(at_once)

        async def one(prompt: BenchPrompt) -> list[int]:
            async with room:
                return await system.tokens(prompt, self._effort.count)

        return await asyncio.gather(*map(one, prompts))

    def _prompts(self) -> list[BenchPrompt]:
        effort, prompts = self._effort, BenchPrompts(self._manifest)
        span = effort.longest - effort.shortest
        lengths = [effort.shortest + span * number // effort.streams for number in range(effort.streams)]
        return [prompts.of_length(length, number) for number, length in enumerate(lengths)]

    def _command(self, chunk: int | None, kafka: KafkaConfig) -> list[str]:
        return endless_worker.command(config_for(self._manifest, kafka, ROWS), chunk)


def _differing(some: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> int:
    return sum(one != other for one, other in zip(some, others, strict=True))
