"""The order of the measurements: rounds in which all that is compared has a turn with the same texts."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from ...config import CacheConfig, Config, KafkaConfig
from ...errors import InferstreamError
from ...runtime.providers import default_lanes
from ...tasks.translate.definition import TRANSLATE
from ..bench import policy_worker
from ..bench.bench import Bench, Command, Progress
from ..bench.rounds import rotated, run_rounds
from ..bench.runs import Run
from . import ready, sleeping_worker
from .loops import RawTranslations, called
from .native import load_native
from .texts import distinct, part_of_distinct

LEARNED: Final = "learned"
FLEETS: Final = {"1-worker": 1, "2-workers": 2, "4-workers": 4}
FULL: Final = ("raw", LEARNED, "native")
ALONE: Final = ("alone", "native alone")
LOOK_S: Final = 0.25
READY_TIMES: Final = 3


class TranslationEffort(Struct, frozen=True):
    """How much is measured. No round begins that would end after ``limit_s``.

    The native engine gets a part of the texts of the others, so that all turns take some seconds.
    """

    rounds: int = 12
    limit_s: float = 180.0
    full_texts: int = 2_000  # the start and the end of a turn, with few rows to choose from, count little
    native_texts: int = 300
    alone_texts: int = 120
    native_alone_texts: int = 60
    fleet_texts: int = 160
    """For each worker of a fleet."""
    memory_turns: int = 6


QUICK: Final = TranslationEffort(
    rounds=2,
    full_texts=60,
    native_texts=20,
    alone_texts=20,
    native_alone_texts=10,
    fleet_texts=20,
    memory_turns=2,
)


class TranslationRound(Struct, frozen=True):
    """One round: the turns by what ran. ``fleets`` by the number of workers."""

    full: dict[str, Run]
    alone: dict[str, Run]
    fleets: dict[str, Run]


class Translated(Struct, frozen=True):
    """All lines, as translated by the native engine and over Kafka."""

    native: list[str]
    ours: list[str]


class TranslationMeasurements(Struct, frozen=True):
    """All that the figures are computed from."""

    rounds: list[TranslationRound]
    translated: Translated
    memory_mb: list[float]
    ready_s: list[float]


class TranslationSuite:
    """Measures one direction on one Kafka. ``model`` is the name of a published one, as `translate-en-pt`."""

    def __init__(
        self, bench: Bench, model: str, lines: Sequence[str], effort: TranslationEffort, progress: Progress
    ) -> None:
        self._bench = bench
        self._model = f"{model}-int8"
        self._lines = lines
        self._effort = effort
        self._progress = progress
        self._native = load_native(model)
        self._raw = RawTranslations(self._model)
        self._lanes = default_lanes("cpu")
        self._systems: dict[str, Any] = {}

    async def measure(self) -> TranslationMeasurements:
        """Start the systems, warm them, then run the rounds, and watch memory."""
        began = time.monotonic()
        effort = self._effort
        turns = len(FULL) + len(ALONE) + len(FLEETS)
        self._progress.begin(4 + effort.memory_turns + turns * effort.rounds)
        self._progress.turn("time to a ready graph")
        ready_s = [self._ready_s() for _ in range(READY_TIMES)]
        self._progress.turn("starting the systems")
        self._systems = await self._bench.start(self._commands(), self._lines[0], FLEETS)
        self._progress.turn("warming up")
        await self._warm()
        rounds = await run_rounds(self._round, rounds=effort.rounds, end=began + effort.limit_s)
        memory_mb = await self._memory()
        self._progress.turn("translating all lines")
        return TranslationMeasurements(rounds, await self._translated(), memory_mb, ready_s)

    def _commands(self) -> dict[str, Command]:
        def learned(kafka: KafkaConfig) -> list[str]:
            return policy_worker.command(self._config(kafka), LEARNED, TRANSLATE, self._model)

        def sleeping(kafka: KafkaConfig) -> list[str]:
            return sleeping_worker.command(self._model, self._config(kafka))

        return {LEARNED: learned, **dict.fromkeys(FLEETS, sleeping)}

    def _config(self, kafka: KafkaConfig) -> Config:
        return Config(kafka=kafka, cache=CacheConfig(enabled=False))

    def _ready_s(self) -> float:
        ran = subprocess.run(ready.command(self._model), capture_output=True, text=True, check=False)
        if ran.returncode:
            raise InferstreamError(f"The model cannot be loaded: {ran.stderr.strip().splitlines()[-1]}")
        return float(ran.stdout)

    async def _warm(self) -> None:
        texts = distinct(self._lines, self._effort.full_texts // 4, seed=-1)
        self._raw.tune(texts, self._lanes)
        called(self._native, texts[:20], self._lanes)
        for name, system in self._systems.items():
            await system.answer_all(texts[: 60 * FLEETS[name]] if name in FLEETS else texts)

    async def _round(self, number: int) -> TranslationRound:
        effort = self._effort
        texts = distinct(self._lines, effort.full_texts, seed=number)
        of = f"round {number + 1} of at most {effort.rounds}: "
        turns: dict[str, Callable[[], Awaitable[Run]]] = {
            "raw": lambda: _done(self._raw.ideal(texts, self._lanes)),
            LEARNED: lambda: self._systems[LEARNED].answer_all(texts),
            "native": lambda: _done(called(self._native, texts[: effort.native_texts], self._lanes)[0]),
            "alone": lambda: _done(self._raw.alone(texts[: effort.alone_texts])),
            "native alone": lambda: _done(called(self._native, texts[: effort.native_alone_texts], 1)[0]),
            **{name: self._fleet_turn(name, number) for name in FLEETS},
        }

        async def run(name: str) -> Run:
            self._progress.turn(of + name)
            return await turns[name]()

        return TranslationRound(
            *[
                {name: await run(name) for name in rotated(names, number)}
                for names in (FULL, ALONE, tuple(FLEETS))
            ]
        )

    def _fleet_turn(self, name: str, number: int) -> Callable[[], Awaitable[Run]]:
        count, most = (self._effort.fleet_texts * workers for workers in (FLEETS[name], max(FLEETS.values())))
        texts = part_of_distinct(self._lines, count, most, seed=1_000 + number)
        return lambda: self._systems[name].answer_all(texts)

    async def _memory(self) -> list[float]:
        """Resident MB of the worker over many different texts."""
        samples: list[float] = []
        learned = self._systems[LEARNED]
        sampling = asyncio.create_task(_sample_memory(learned, samples))
        for turn in range(self._effort.memory_turns):
            self._progress.turn("memory of the worker")
            await learned.answer_all(distinct(self._lines, self._effort.full_texts, seed=-2 - turn))
        sampling.cancel()
        return samples

    async def _translated(self) -> Translated:
        lines = list(dict.fromkeys(self._lines))
        run = await self._systems[LEARNED].answer_all(lines)
        ours = dict(zip(lines, (run.labels[number] for number in range(len(lines))), strict=True))
        native = dict(zip(lines, called(self._native, lines, self._lanes)[1], strict=True))
        return Translated([native[line] for line in self._lines], [ours[line] for line in self._lines])


async def _done(run: Run) -> Run:
    return run


async def _sample_memory(system: Any, samples: list[float]) -> None:
    while True:
        samples.append(system.process.resident_mb())
        await asyncio.sleep(LOOK_S)
