"""Two checkouts side by side: their workers, started by their command lines, take turns on the same Kafka."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ...config import KafkaConfig
from ..statistics import percentile
from .bench import Bench, Command, Progress
from .figures import BenchFigure, Speed, at_least, speed
from .measurements import AgainstEffort
from .processes import find_executable
from .rounds import rotated, run_rounds
from .runs import Paced, Run
from .system import System
from .tickets import mixed

GOAL: Final = 0.95
TREES: Final = ("new", "old")
TURNS: Final = 3


class TreeRound(Struct, frozen=True):
    """One round: the turns of ``new`` and ``old`` with the same texts."""

    full: dict[str, Run]
    cached: dict[str, Run]
    paced: dict[str, Paced]


class AgainstSuite:
    """Measures this checkout and another one, which is given by its `inferstream` executable."""

    def __init__(
        self, bench: Bench, other: Path, texts: Sequence[str], effort: AgainstEffort, progress: Progress
    ) -> None:
        self._bench = bench
        self._executables = {"new": this_executable(), "old": find_executable(other)}
        self._texts = texts
        self._effort = effort
        self._progress = progress

    async def measure(self) -> list[TreeRound]:
        """Start two workers of each checkout, without and with a cache; warm them; measure the rounds."""
        began = time.monotonic()
        effort = self._effort
        self._progress.begin(5 + 2 * TURNS * effort.rounds)
        self._progress.turn("starting the workers of both checkouts")
        commands = {tree: worker(self._executables[tree]) for tree in TREES}
        for tree in TREES:
            folder = self._bench.folder / f"{tree}-cache"
            commands[f"{tree}-cached"] = worker(self._executables[tree], cache=folder)
        systems = await self._bench.start(commands, self._texts[0])
        for name, system in systems.items():
            self._progress.turn(f"warming up: {name}")
            await system.answer_all(self._texts)
        return await run_rounds(
            lambda number: self._round(systems, number), rounds=effort.rounds, end=began + effort.limit_s
        )

    async def _round(self, systems: dict[str, System], number: int) -> TreeRound:
        effort = self._effort
        of = f"round {number + 1} of at most {effort.rounds}: "
        full = mixed(self._texts, effort.full_requests, seed=number)
        many = mixed(self._texts, effort.cached_requests, seed=number)
        paced = mixed(self._texts, effort.paced_requests, seed=number)
        found = TreeRound({}, {}, {})
        for tree in rotated(TREES, number):
            self._progress.turn(f"{of}{tree}, full load")
            found.full[tree] = await systems[tree].answer_all(full)
        for tree in rotated(TREES, number):
            self._progress.turn(f"{of}{tree}, cached answers")
            found.cached[tree] = await systems[f"{tree}-cached"].answer_all(many)
        for tree in rotated(TREES, number):
            self._progress.turn(f"{of}{tree}, {effort.paced_per_s:g} requests/s")
            found.paced[tree] = await systems[tree].answer_paced(paced, effort.paced_per_s)
        return found


def this_executable() -> Path:
    """The `inferstream` executable of the running environment. Raises UsageError where there is none."""
    return find_executable(Path(sys.executable).parent / "inferstream")


def worker(executable: Path, *, cache: Path | None = None) -> Command:
    """A worker by its public command line, with a cache in the folder ``cache`` if one is given."""

    def command(kafka: KafkaConfig) -> list[str]:
        caching = ["--cache", "--cache-dir", str(cache)] if cache else ["--no-cache"]
        return [
            *[str(executable), "worker", "triage", "--kafka", kafka.bootstrap],
            *["--topic-prefix", kafka.topic_prefix, "--web-port", "0", "--log-level", "warning"],
            *caching,
        ]

    return command


def against_speeds(rounds: Sequence[TreeRound]) -> list[Speed]:
    """The requests/s of both checkouts, and the CPU time for one request."""
    return [
        *(speed(f"{tree}, cache off", [round_.full[tree] for round_ in rounds]) for tree in TREES),
        *(speed(f"{tree}, all answers cached", [round_.cached[tree] for round_ in rounds]) for tree in TREES),
    ]


def against_figures(rounds: Sequence[TreeRound], effort: AgainstEffort) -> list[BenchFigure]:
    """P1, P5 and P6 as ratios of the checkouts: above 1 the new one is better."""
    p1 = [round_.full["new"].per_s / round_.full["old"].per_s for round_ in rounds]
    p1_cpu = [round_.full["old"].cpu_ms / round_.full["new"].cpu_ms for round_ in rounds]
    p5 = [round_.cached["new"].per_s / round_.cached["old"].per_s for round_ in rounds]
    p5_cpu = [round_.cached["old"].cpu_ms / round_.cached["new"].cpu_ms for round_ in rounds]
    p6 = [_p50(round_.paced["old"]) / _p50(round_.paced["new"]) for round_ in rounds]
    latencies = {tree: [ms for round_ in rounds for ms in round_.paced[tree].latencies_ms] for tree in TREES}
    detail = ", ".join(
        f"p{percent} {percentile(latencies['new'], percent):.1f} ms against "
        f"{percentile(latencies['old'], percent):.1f} ms"
        for percent in (50, 99)
    )
    return [
        _not_worse("P1", "requests/s over Kafka, new ÷ old", p1),
        _not_worse("P1", "CPU time of a request, old ÷ new", p1_cpu),
        _not_worse("P5", "cached replies/s, new ÷ old", p5),
        _not_worse("P5", "CPU time of a cached reply, old ÷ new", p5_cpu),
        _not_worse("P6", f"p50 latency at {effort.paced_per_s:g} requests/s, old ÷ new", p6, detail),
    ]


def _not_worse(name: str, what: str, values: Sequence[float], detail: str = "") -> BenchFigure:
    figure = at_least(name, what, values, GOAL, detail)
    met = figure.low is not None and figure.low >= GOAL
    return replace(figure, goal=f"low end ≥ {GOAL:g}", met=met)


def _p50(run: Paced) -> float:
    return percentile(run.latencies_ms, 50)
