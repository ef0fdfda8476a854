"""Rounds in which all models have a turn with the same texts, and fleets of workers whose devices sleep."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from ...config import CacheConfig, Config, KafkaConfig
from ...tasks.triage.definition import TRIAGE
from ..bench import policy_worker
from ..bench.bench import Bench, Command, Progress
from ..bench.rounds import rotated, run_rounds
from ..bench.runs import Run
from ..bench.system import System
from ..bench.tickets import mixed
from . import sleeping_worker

FLEETS: Final = {"1-worker": 1, "2-workers": 2, "4-workers": 4}
WARM_TEXTS: Final = 600


class TierEffort(Struct, frozen=True):
    """How much is measured. No round begins that would end after ``limit_s``."""

    rounds: int = 8
    limit_s: float = 200.0
    texts: int = 9_000
    """The quickest model needs two seconds for them: what each turn takes to begin hardly counts."""

    fleet_texts: int = 400
    """For each worker of a fleet."""


class TierSuite:
    """Measures on one Kafka. There is no cache, so a text that comes again costs as much as before."""

    def __init__(self, bench: Bench, texts: Sequence[str], effort: TierEffort, progress: Progress) -> None:
        self._bench = bench
        self._texts = list(dict.fromkeys(texts))
        self._effort = effort
        self._progress = progress

    async def compare(self, models: Sequence[str]) -> list[dict[str, Run]]:
        """The turns of each model by round."""
        systems = await self._started({model: _serving(model) for model in models}, {})
        return await self._rounds(systems, dict.fromkeys(models, self._effort.texts))

    async def scale(self, model: str) -> list[dict[str, Run]]:
        """The turns of one, two and four workers by round: each worker of a fleet has as many texts."""
        systems = await self._started(dict.fromkeys(FLEETS, _sleeping(model)), FLEETS)
        counts = {name: workers * self._effort.fleet_texts for name, workers in FLEETS.items()}
        return await self._rounds(systems, counts)

    async def _started(
        self, commands: Mapping[str, Command], workers: Mapping[str, int]
    ) -> dict[str, System]:
        self._progress.begin(1 + len(commands) * (1 + self._effort.rounds))
        self._progress.turn("starting the workers")
        systems = await self._bench.start(commands, self._texts[0], workers)
        for name, system in systems.items():
            self._progress.turn(f"warming up: {name}")
            await system.answer_all(mixed(self._texts, WARM_TEXTS // 6 if workers else WARM_TEXTS, seed=-1))
        return systems

    async def _rounds(self, systems: Mapping[str, System], counts: Mapping[str, int]) -> list[dict[str, Run]]:
        async def one_round(number: int) -> dict[str, Run]:
            found = {}
            for name in rotated(list(systems), number):
                self._progress.turn(f"round {number + 1} of at most {self._effort.rounds}: {name}")
                found[name] = await systems[name].answer_all(mixed(self._texts, counts[name], seed=number))
            return found

        end = time.monotonic() + self._effort.limit_s
        return await run_rounds(one_round, rounds=self._effort.rounds, end=end)


def _config(kafka: KafkaConfig) -> Config:
    return Config(kafka=kafka, cache=CacheConfig(enabled=False))


def _serving(model: str) -> Command:
    return lambda kafka: policy_worker.command(_config(kafka), "learned", TRIAGE, model)


def _sleeping(model: str) -> Command:
    return lambda kafka: sleeping_worker.command(model, _config(kafka))
