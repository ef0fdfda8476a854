"""The figures: each a ratio or a difference within one run of the suite, beside its goal."""

import statistics
from collections.abc import Callable, Sequence

from msgspec import Struct

from .raw import RawRun
from .runs import Run, percentile
from .suite import Effort, Measured, Round, Steady


class Figure(Struct, frozen=True):
    """One line of the result; ``values`` holds the repetitions that ``median`` is of."""

    name: str
    what: str
    median: float
    goal: str
    met: bool
    values: list[float]
    detail: str


class Speed(Struct, frozen=True):
    """One system at full load: the median of the rounds; CPU time in ms a request."""

    system: str
    per_s: float
    measured_ms: float
    broker_ms: float
    generator_ms: float


SYSTEMS = {
    "raw": "raw loop over all tickets, sorted: the limit",
    "learned": "inferstream",
    "single": "one at a time",
    "fifo": "FIFO batches of 32, 10 ms",
    "fp32": "inferstream with fp32",
    "cached": "inferstream, all answers cached",
    "echo": "bare echo loop",
}


def speeds(rounds: Sequence[Round]) -> list[Speed]:
    """What each system did, and whose CPU time it took: broker and load generator share the cores."""
    return [_speed(name, [getattr(round_, field) for round_ in rounds]) for field, name in SYSTEMS.items()]


def _speed(name: str, runs: Sequence[Run | RawRun]) -> Speed:
    cpu = [(run.cpu.measured_s, run.cpu.broker_s, run.cpu.generator_s) for run in runs]
    per_request_ms = [
        [seconds / run.requests * 1e3 for seconds in part] for run, part in zip(runs, cpu, strict=True)
    ]
    return Speed(
        name,
        statistics.median(run.per_s for run in runs),
        *map(statistics.median, zip(*per_request_ms, strict=True)),
    )


def figures(measured: Measured, effort: Effort) -> list[Figure]:
    """All figures, in the order of their names."""
    rounds = measured.rounds
    found = [
        _ratio(
            "P1",
            "over Kafka ÷ raw loop, sorted",
            rounds,
            lambda r: r.learned.per_s / r.raw.per_s,
            0.90,
        ),
        _ratio("P2", "÷ FIFO batches of 32, 10 ms", rounds, lambda r: r.learned.per_s / r.fifo.per_s, 3.2),
        _ratio("P3", "÷ one at a time, full load", rounds, lambda r: r.learned.per_s / r.single.per_s, 1.0),
        *(_steady(steady, effort) for steady in measured.steady),
        _ratio("P4", "int8 ÷ fp32", rounds, lambda r: r.learned.per_s / r.fp32.per_s, 1.6),
        _ratio("P4", "share of labels as fp32's", rounds, agreement, 0.98),
        _ratio("P5", "cached replies ÷ bare echo loop", rounds, lambda r: r.cached.per_s / r.echo.per_s, 0.7),
        *(_added(measured, percent, goal_ms) for percent, goal_ms in ((50, 4.0), (99, 12.0))),
        _most("P9", "padding ÷ all tokens", [r.learned.padding for r in rounds], 0.05),
    ]
    if measured.memory is not None:
        found.append(_memory(measured.memory.resident_mb, measured.memory.requests))
    return found


def agreement(measured: Round) -> float:
    """The share of tickets that int8 and fp32 give the same category."""
    int8, fp32 = measured.learned.labels, measured.fp32.labels
    return sum(int8[identity] == label for identity, label in fp32.items()) / len(fp32)


def _ratio(
    name: str, what: str, rounds: Sequence[Round], of: Callable[[Round], float], goal: float
) -> Figure:
    values = [of(round_) for round_ in rounds]
    median = statistics.median(values)
    return Figure(name, what, median, f"≥ {goal:g}", median >= goal, values, _spread(values))


def _most(name: str, what: str, values: Sequence[float], goal: float) -> Figure:
    median = statistics.median(values)
    return Figure(name, what, median, f"≤ {goal:g}", median <= goal, list(values), _spread(values))


def _steady(steady: Steady, effort: Effort) -> Figure:
    """Below full load both answer all that is offered: what differs is how long it takes."""
    ratio = steady.learned.per_s / steady.single.per_s
    latency = [percentile(run.latencies_ms, 50) for run in (steady.learned, steady.single)]
    what = f"÷ one at a time, {steady.offered_per_s:.0f} requests/s"
    detail = f"p50 {latency[0]:.1f} ms against {latency[1]:.1f} ms over {effort.load_s:.0f} s"
    # Both end with the last answer of a fixed schedule: a hundredth is the length of one answer.
    return Figure("P3", what, ratio, "≥ 1", ratio >= 0.99, [ratio], detail)


def _added(measured: Measured, percent: int, goal_ms: float) -> Figure:
    pipeline, direct, echo = (
        percentile(values, percent)
        for values in (measured.added.pipeline, measured.added.direct, measured.added.echo)
    )
    added = pipeline - direct - echo
    detail = f"{pipeline:.1f} - {direct:.1f} direct - {echo:.1f} echo"
    return Figure(
        "P6", f"added latency, p{percent}, ms", added, f"≤ {goal_ms:g}", added <= goal_ms, [added], detail
    )


def _memory(resident_mb: Sequence[float], requests: int) -> Figure:
    """Flat: the last quarter's median against the second quarter's, so that the ramp does not count."""
    quarter = max(1, len(resident_mb) // 4)
    early, late = (
        statistics.median(part) for part in (resident_mb[quarter : 2 * quarter], resident_mb[-quarter:])
    )
    peak = max(resident_mb)
    detail = f"{early:.0f} MB in the second quarter, {late:.0f} MB in the last, of {requests} requests"
    return Figure(
        "memory",
        "resident, MB, peak",
        peak,
        "≤ 400, flat",
        peak <= 400 and late <= early * 1.05,
        [peak],
        detail,
    )


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"
