"""The figures of a run: medians over the rounds of ratios within a round, with intervals, beside their goals."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from ..statistics import median, median_interval, percentile
from .measurements import Effort, Measurements, Round
from .runs import Paced, Run

MAX_MB: Final = 400
FLAT: Final = 1.05
END_OF_LOAD: Final = 0.99
"""At a fixed rate both systems answer everything: the last answer alone makes their requests/s differ."""


class BenchFigure(Struct, frozen=True):
    """One line of the result.

    ``values`` has one value a round, ``low`` and ``high`` are the 95 % interval of its ``median``. A figure that
    has one value for the whole run has no interval.
    """

    name: str
    what: str
    median: float
    low: float | None
    high: float | None
    goal: str
    met: bool
    values: list[float]
    detail: str = ""


class Speed(Struct, frozen=True):
    """One system at full load: the medians of the rounds; CPU time in ms for one request."""

    system: str
    per_s: float
    measured_ms: float
    broker_ms: float
    generator_ms: float


SYSTEMS: Final[dict[str, tuple[str, Callable[[Round], Run]]]] = {
    "raw": ("raw loop over all tickets, sorted: the limit", lambda r: r.full["raw"]),
    "learned": ("inferstream", lambda r: r.full["learned"]),
    "single": ("one at a time", lambda r: r.full["single"]),
    "fifo": ("FIFO batches of 32, 10 ms", lambda r: r.short["fifo"]),
    "fp32": ("inferstream with fp32", lambda r: r.short["fp32"]),
    "cached": ("inferstream, all answers cached", lambda r: r.cached["cached"]),
    "echo": ("bare echo loop", lambda r: r.cached["echo"]),
}
"""What is compared at full load, and where a round has its run."""


def speeds(rounds: Sequence[Round]) -> list[Speed]:
    """The requests/s of each system, and the CPU time of the broker and the load generator beside its own."""
    return [speed(name, [run(round_) for round_ in rounds]) for name, run in SYSTEMS.values()]


def speed(name: str, runs: Sequence[Run]) -> Speed:
    """The medians of one system's runs."""
    return Speed(
        name,
        median([run.per_s for run in runs]),
        median([run.cpu_ms for run in runs]),
        median([run.cpu.broker_s / run.requests * 1e3 for run in runs]),
        median([run.cpu.generator_s / run.requests * 1e3 for run in runs]),
    )


def figures(measurements: Measurements, effort: Effort) -> list[BenchFigure]:
    """All figures, in the order of their names."""
    rounds = measurements.rounds

    def ratio(name: str, what: str, of: Callable[[Round], float], goal: float) -> BenchFigure:
        return at_least(name, what, [of(round_) for round_ in rounds], goal)

    found = [
        ratio("P1", "over Kafka ÷ raw loop", lambda r: r.full["learned"].per_s / r.full["raw"].per_s, 0.9),
        ratio("P1", "the same by CPU time", lambda r: r.full["raw"].cpu_ms / r.full["learned"].cpu_ms, 0.9),
        ratio(
            "P2",
            "÷ FIFO batches of 32, 10 ms",
            lambda r: r.short["learned"].per_s / r.short["fifo"].per_s,
            3.2,
        ),
        ratio(
            "P3",
            "÷ one at a time, full load",
            lambda r: r.full["learned"].per_s / r.full["single"].per_s,
            1.0,
        ),
        *(_loaded(rounds, number, per_s) for number, per_s in enumerate(measurements.loads_per_s)),
        ratio("P4", "int8 ÷ fp32", lambda r: r.short["learned"].per_s / r.short["fp32"].per_s, 1.6),
        ratio(
            "P4", "the same by CPU time", lambda r: r.short["fp32"].cpu_ms / r.short["learned"].cpu_ms, 1.6
        ),
        ratio("P4", "share of labels as fp32's", agreement, 0.98),
        ratio(
            "P5",
            "cached replies ÷ bare echo loop",
            lambda r: r.cached["cached"].per_s / r.cached["echo"].per_s,
            0.7,
        ),
        _added_p50(rounds, effort.paced_per_s),
        _added_p99(rounds, effort.paced_per_s),
        at_most("P9", "padding ÷ all tokens", [round_.full["learned"].padding for round_ in rounds], 0.05),
    ]
    if measurements.memory_mb:
        found.append(_memory(measurements))
    return found


def at_least(name: str, what: str, values: Sequence[float], goal: float, detail: str = "") -> BenchFigure:
    """A figure whose median is to reach ``goal``."""
    middle = median(values)
    low, high = median_interval(values)
    return BenchFigure(name, what, middle, low, high, f"≥ {goal:g}", middle >= goal, list(values), detail)


def at_most(name: str, what: str, values: Sequence[float], goal: float, detail: str = "") -> BenchFigure:
    """A figure whose median must not exceed ``goal``."""
    middle = median(values)
    low, high = median_interval(values)
    return BenchFigure(name, what, middle, low, high, f"≤ {goal:g}", middle <= goal, list(values), detail)


def agreement(round_: Round) -> float:
    """The share of tickets to which int8 and fp32 give the same category."""
    int8 = round_.short["learned"].labels
    fp32 = round_.short["fp32"].labels
    return sum(int8[number] == label for number, label in fp32.items()) / len(fp32)


def _loaded(rounds: Sequence[Round], load: int, per_s: float) -> BenchFigure:
    runs = [round_.loaded[load] for round_ in rounds]
    values = [pair["learned"].per_s / pair["single"].per_s for pair in runs]
    learned, single = (
        percentile(_latencies(pair[name] for pair in runs), 50) for name in ("learned", "single")
    )
    detail = f"p50 {learned:.1f} ms against {single:.1f} ms"
    return at_least("P3", f"÷ one at a time, {per_s:.0f} requests/s", values, END_OF_LOAD, detail)


def _latencies(runs: Iterable[Paced]) -> list[float]:
    return [latency for run in runs for latency in run.latencies_ms]


def _added_p50(rounds: Sequence[Round], per_s: float) -> BenchFigure:
    parts = [
        [percentile(round_.latency[name], 50) for round_ in rounds] for name in ("learned", "direct", "echo")
    ]
    values = [learned - direct - echo for learned, direct, echo in zip(*parts, strict=True)]
    return at_most(
        "P6", f"added latency at {per_s:g} requests/s, p50, ms", values, 4.0, _parts(*map(median, parts))
    )


def _added_p99(rounds: Sequence[Round], per_s: float) -> BenchFigure:
    """One round has too few requests for a p99: those of all rounds count together."""
    learned, direct, echo = (
        percentile([latency for round_ in rounds for latency in round_.latency[name]], 99)
        for name in ("learned", "direct", "echo")
    )
    added = learned - direct - echo
    what = f"added latency at {per_s:g} requests/s, p99, ms"
    return BenchFigure(
        "P6", what, added, None, None, "≤ 12", added <= 12, [added], _parts(learned, direct, echo)
    )


def _parts(learned: float, direct: float, echo: float) -> str:
    return f"{learned:.1f} - {direct:.1f} direct - {echo:.1f} echo"


def _memory(measurements: Measurements) -> BenchFigure:
    """The peak of the whole run; flat: the median of the last quarter of the samples against the second's.

    The first quarter is the ramp.
    """
    resident_mb = measurements.memory_mb
    count = len(resident_mb)
    early = median(resident_mb[count // 4 : count // 2 or 1])
    late = median(resident_mb[-(count // 4 or 1) :])
    peak = max(*resident_mb, *(round_.resident_mb for round_ in measurements.rounds))
    met = peak <= MAX_MB and late <= early * FLAT
    requests = measurements.memory_requests
    detail = f"{early:.0f} MB in the second quarter, {late:.0f} MB in the last, of {requests:,} requests"
    return BenchFigure("memory", "resident, MB, peak", peak, None, None, "≤ 400, flat", met, [peak], detail)
