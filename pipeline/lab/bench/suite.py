"""The order of the measurements: short rounds, in which all that is compared has a turn with the same texts."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from ...config import CacheConfig, Config, KafkaConfig
from ...tasks.triage.definition import TRIAGE
from . import echo, policy_worker
from .bench import Bench, Command, Progress
from .measurements import Effort, Measurements, Round
from .raw import RawLoop
from .rounds import rotated, run_rounds
from .runs import Paced, Run
from .system import System
from .tickets import mixed, shortened

INT8: Final = "minilm-int8"
FP32: Final = "minilm-fp32"
FULL: Final = ("raw", "learned", "single")
SHORT: Final = ("learned", "fp32", "fifo")
CACHED: Final = ("cached", "echo")
LOADED: Final = ("learned", "single")
LATENCY: Final = ("learned", "echo", "direct")

MEMORY_TURNS: Final = 8
MEMORY_WORDS: Final = 12
WHOLE_TICKETS: Final = 20
"""One in this many requests of the memory run is a whole ticket."""

LOOK_S: Final = 0.25
WARM_REQUESTS: Final = 352


class Suite:
    """Measures on one Kafka with one set of texts."""

    def __init__(self, bench: Bench, texts: Sequence[str], effort: Effort, progress: Progress) -> None:
        self._bench = bench
        self._texts = texts
        self._effort = effort
        self._progress = progress
        self._raw = RawLoop(INT8)
        self._systems: dict[str, System] = {}

    async def measure(self) -> Measurements:
        """Start all systems, warm them, then measure memory and the rounds."""
        began = time.monotonic()
        effort = self._effort
        commands = self._commands()
        self._progress.begin(2 + len(commands) + _memory_turns(effort) + _round_turns(effort) * effort.rounds)
        self._progress.turn("starting the systems")
        self._systems = await self._bench.start(commands, self._texts[0])
        single_per_s = await self._warm()
        loads_per_s = [load * single_per_s for load in effort.loads]
        memory_mb = await self._memory() if effort.memory_requests else []
        rounds = await run_rounds(
            lambda number: self._round(number, loads_per_s), rounds=effort.rounds, end=began + effort.limit_s
        )
        return Measurements(rounds, loads_per_s, memory_mb, effort.memory_requests)

    def _commands(self) -> dict[str, Command]:
        folder = str(self._bench.folder / "cache")
        return {
            "learned": serving("learned", INT8),
            "single": serving("single", INT8),
            "fifo": serving("fifo", INT8),
            "fp32": serving("learned", FP32),
            "cached": serving("learned", INT8, cache=folder),
            "echo": echo.command,
        }

    async def _warm(self) -> float:
        """Run all systems once; return the requests/s that one at a time reaches at full load."""
        texts = mixed(self._texts, WARM_REQUESTS, seed=-1)
        self._progress.turn("finding the raw loop's best token budget")
        self._raw.tune(texts)
        single_per_s = 0.0
        for name, system in self._systems.items():
            self._progress.turn(f"warming up: {name}")
            some = {"fifo": texts[:64], "fp32": texts[:128], "cached": list(self._texts)}
            run = await system.answer_all(some.get(name, texts))
            if name == "single":
                single_per_s = run.per_s
        return single_per_s

    async def _memory(self) -> list[float]:
        """Resident MB of the worker while it answers many texts without a cache.

        The first turn has whole tickets: with them the memory for batches reaches its full size. The others have
        short ones, so that there can be many.
        """
        requests = self._effort.memory_requests
        whole = max(1, requests // WHOLE_TICKETS)
        short = shortened(self._texts, MEMORY_WORDS)
        turns = [
            mixed(self._texts, whole, seed=0),
            *(mixed(short, (requests - whole) // (MEMORY_TURNS - 1), seed=n) for n in range(1, MEMORY_TURNS)),
        ]
        samples: list[float] = []
        learned = self._systems["learned"]
        sampling = asyncio.create_task(_sample_memory(learned, samples))
        for texts in turns:
            self._progress.turn("memory of the worker")
            await learned.answer_all(texts)
        sampling.cancel()
        return samples

    async def _round(self, number: int, loads_per_s: Sequence[float]) -> Round:
        effort = self._effort
        of = f"round {number + 1} of at most {effort.rounds}: "
        full = mixed(self._texts, effort.full_requests, seed=number)
        short = mixed(self._texts, effort.short_requests, seed=number)
        many = mixed(self._texts, effort.cached_requests, seed=number)
        paced = mixed(self._texts, effort.paced_requests, seed=number)
        return Round(
            full={name: await self._full_load(of, name, full) for name in rotated(FULL, number)},
            short={name: await self._full_load(of, name, short) for name in rotated(SHORT, number)},
            cached={name: await self._full_load(of, name, many) for name in rotated(CACHED, number)},
            loaded=[await self._loaded(of, number, per_s) for per_s in loads_per_s],
            latency={name: await self._latency(of, name, paced) for name in rotated(LATENCY, number)},
            resident_mb=self._systems["learned"].process.resident_mb(),
        )

    async def _full_load(self, of: str, name: str, texts: Sequence[str]) -> Run:
        self._progress.turn(f"{of}{name}, full load")
        if name == "raw":
            return self._raw.answer_all(texts)
        return await self._systems[name].answer_all(texts)

    async def _loaded(self, of: str, number: int, per_s: float) -> dict[str, Paced]:
        texts = mixed(self._texts, max(1, round(per_s * self._effort.load_s)), seed=number)
        runs = {}
        for name in rotated(LOADED, number):
            self._progress.turn(f"{of}{name}, {per_s:.0f} requests/s")
            runs[name] = await self._systems[name].answer_paced(texts, per_s)
        return runs

    async def _latency(self, of: str, name: str, texts: Sequence[str]) -> list[float]:
        self._progress.turn(f"{of}{name}, latency")
        if name == "direct":
            return self._raw.direct(texts)
        return (await self._systems[name].answer_paced(texts, self._effort.paced_per_s)).latencies_ms


def serving(policy: str, model: str, *, cache: str | None = None) -> Command:
    """A worker with this batching policy, and with a cache in the folder ``cache`` if one is given."""
    caching = CacheConfig(enabled=cache is not None, directory=cache)

    def command(kafka: KafkaConfig) -> list[str]:
        return policy_worker.command(Config(kafka=kafka, cache=caching), policy, TRIAGE, model)

    return command


def _memory_turns(effort: Effort) -> int:
    return MEMORY_TURNS if effort.memory_requests else 0


def _round_turns(effort: Effort) -> int:
    return len(FULL) + len(SHORT) + len(CACHED) + len(LATENCY) + len(LOADED) * len(effort.loads)


async def _sample_memory(system: System, samples: list[float]) -> None:
    while True:
        samples.append(system.process.resident_mb())
        await asyncio.sleep(LOOK_S)
