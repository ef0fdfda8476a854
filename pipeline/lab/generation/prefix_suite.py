"""Prompts that share a beginning, on a worker that keeps what it has read of prompts, and on one that does not."""

from contextlib import AsyncExitStack
from functools import partial
from itertools import takewhile
from typing import Final

from msgspec import Struct

from ...config import KafkaConfig
from ...models.registry import ModelRegistry
from ..bench.bench import Bench, Progress
from ..bench.rounds import rotated
from . import endless_worker
from .arrivals import StreamsAtOnce, at_once
from .bench_prompt import BenchPrompt, BenchPrompts
from .bench_workers import BenchWorkers, config_for
from .generating_system import streamed
from .measured_core import MeasuredCore

KEEPING: Final = "prefixes-kept"
PLAIN: Final = "nothing-kept"
KEPT_TOKENS: Final = 4096


class PrefixEffort(Struct, frozen=True):
    """How much is measured; lengths in tokens. The prompts have ``own`` tokens behind the shared ones, or more."""

    rounds: int = 6
    streams: int = 8
    count: int = 64
    shared: int = 161
    own: int = 16
    step: int = 15


QUICK_PREFIXES: Final = PrefixEffort(rounds=1, streams=3, count=4, shared=30, own=8, step=2)


class PrefixMeasurements(Struct, frozen=True):
    """The rounds by what ran. ``shared``: tokens that the prompts of a round have in common."""

    rounds: list[dict[str, StreamsAtOnce]]
    shared: int
    lengths: list[int]


class PrefixSuite:
    """Measures one model on one Kafka."""

    def __init__(self, bench: Bench, model: str, effort: PrefixEffort, progress: Progress) -> None:
        self._bench = bench
        self._manifest = ModelRegistry().load(model)
        self._effort = effort
        self._progress = progress
        self._core = MeasuredCore()

    async def measure(self) -> PrefixMeasurements:
        """One round more than counts, in which the shared beginning is read."""
        self._progress.begin(2 + self._effort.rounds)
        self._progress.turn("starting the workers")
        async with AsyncExitStack() as stack:
            stack.callback(self._core.stay())
            kept = {PLAIN: 0, KEEPING: KEPT_TOKENS}
            with self._core.starting():
                systems = await BenchWorkers(self._bench, stack).start(
                    {name: partial(self._command, tokens) for name, tokens in kept.items()}
                )
            for system in systems.values():
                system.pause()
            warming = BenchPrompts(self._manifest).of_length(9, 3)
            rounds: list[dict[str, StreamsAtOnce]] = []
            for number in range(self._effort.rounds + 1):
                self._progress.turn(f"a shared beginning, round {number} of {self._effort.rounds}")
                found: dict[str, StreamsAtOnce] = {}
                for name in rotated(list(systems), number):
                    systems[name].resume()
                    await streamed(systems[name], warming, 2)  # the first request after a pause is slower
                    found[name] = await at_once(systems[name], self._prompts(number), self._effort.count)
                    systems[name].pause()
                rounds.append(found)
        prompts = self._prompts(0)
        columns = zip(*(prompt.tokens for prompt in prompts), strict=False)
        shared = len(list(takewhile(lambda tokens: len(set(tokens)) == 1, columns)))
        return PrefixMeasurements(rounds[1:], shared, [len(prompt.tokens) for prompt in prompts])

    def _command(self, kept: int, kafka: KafkaConfig) -> list[str]:
        config = config_for(self._manifest, kafka, self._effort.streams, prefix_tokens=kept)
        return endless_worker.command(config)

    def _prompts(self, round_: int) -> list[BenchPrompt]:
        """Other endings in each round, so that a worker has read the shared beginning only."""
        prompts, effort = BenchPrompts(self._manifest), self._effort
        shared = prompts.of_length(effort.shared)
        return [
            prompts.behind(shared, effort.own + effort.step * stream, 100 + round_ * effort.streams + stream)
            for stream in range(effort.streams)
        ]
