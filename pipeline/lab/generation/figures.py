"""The figures of a run: medians over the rounds of ratios within a round, with intervals, beside their goals."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from ..bench.figures import BenchFigure, at_least, at_most
from ..statistics import median
from .generation_rounds import ENGINE, OURS, GenerationRound
from .peers import OPENVINO, Q4_0, Q4_0_SMALL, Q4_1
from .suite import GenerationMeasurements

Of = Callable[[GenerationRound], float]
FASTER: Final = (Q4_0, Q4_0_SMALL)
"""llama.cpp counts with the setting that is better for a figure."""


class GenerationSpeed(Struct, frozen=True):
    """One system: the medians of the rounds. What was not measured of it is None."""

    system: str
    one_per_s: float
    all_per_s: float
    first_ms: float
    late_ms: float | None
    long_s: float | None
    gap_ms: float | None


def generation_speeds(rounds: Sequence[GenerationRound]) -> list[GenerationSpeed]:
    """A row for each system."""
    return [_speed(name, rounds) for name in sorted(rounds[0].together, key=_order)]


def _order(name: str) -> int:
    return [OURS, ENGINE, Q4_0, Q4_0_SMALL, Q4_1, OPENVINO].index(name)


def _speed(name: str, rounds: Sequence[GenerationRound]) -> GenerationSpeed:
    arrived = name in rounds[0].late

    def middle(of: Of) -> float:
        return median([of(one) for one in rounds])

    return GenerationSpeed(
        name,
        middle(lambda r: r.alone[name].per_s),
        middle(lambda r: r.together[name].per_s),
        middle(lambda r: r.alone[name].first_s[0] * 1e3),
        middle(lambda r: r.late[name].first_s * 1e3) if arrived else None,
        middle(lambda r: r.long[name].first_s) if arrived else None,
        middle(lambda r: r.long[name].longest_gap_s * 1e3) if arrived else None,
    )


def generation_figures(measured: GenerationMeasurements) -> list[BenchFigure]:
    """The figures of benchmarks/README.md, in its order; without those of peers that did not run."""
    rounds = measured.rounds
    streams = len(rounds[0].together[OURS].first_s)
    peers = set(rounds[0].together)
    found: list[BenchFigure] = []
    if Q4_0 in peers:
        found += _against_llama_cpp(rounds, streams)
    if OPENVINO in peers:
        found += _against_openvino(rounds, streams)
    return [*found, *_own(rounds, streams), *_cost_of_kafka(rounds, streams), _memory(measured.memory_mb)]


def _values(rounds: Sequence[GenerationRound], of: Of) -> list[float]:
    return [of(one) for one in rounds]


def _against_llama_cpp(rounds: Sequence[GenerationRound], streams: int) -> Iterator[BenchFigure]:
    def fastest(turns: Callable[[GenerationRound], dict[str, float]]) -> Of:
        return lambda r: turns(r)[OURS] / max(turns(r)[name] for name in FASTER)

    def soonest(turns: Callable[[GenerationRound], dict[str, float]]) -> Of:
        return lambda r: turns(r)[OURS] / min(turns(r)[name] for name in FASTER)

    def late_s(round_: GenerationRound) -> dict[str, float]:
        return {name: one.first_s for name, one in round_.late.items()}

    ratio = "tokens/s ÷ llama.cpp, Q4_0"
    yield at_least("speed", f"{streams} streams: {ratio}", _values(rounds, fastest(_together)), 1.05)
    of_file: Of = lambda r: _together(r)[OURS] / _together(r)[Q4_1]  # noqa: E731
    yield at_least("speed", f"{streams} streams: ÷ llama.cpp, the same Q4_1", _values(rounds, of_file), 1.6)
    yield at_least("speed", f"1 stream: {ratio}", _values(rounds, fastest(_alone)), 1.0)
    yield at_most("late", "time to first token ÷ llama.cpp, Q4_0", _values(rounds, soonest(late_s)), 0.6)
    gap: Of = lambda r: r.long[OURS].longest_gap_s / r.long[Q4_0_SMALL].longest_gap_s  # noqa: E731
    yield at_most("long", "longest gap of the others ÷ llama.cpp, -b 64", _values(rounds, gap), 0.5)


def _against_openvino(rounds: Sequence[GenerationRound], streams: int) -> Iterator[BenchFigure]:
    speed: Of = lambda r: _together(r)[OURS] / _together(r)[OPENVINO]  # noqa: E731
    yield at_least("speed", f"{streams} streams: ÷ OpenVINO GenAI", _values(rounds, speed), 1.15)
    late: Of = lambda r: r.late[OURS].first_s / r.late[OPENVINO].first_s  # noqa: E731
    yield at_most("late", "time to first token ÷ OpenVINO GenAI", _values(rounds, late), 0.75)


def _own(rounds: Sequence[GenerationRound], streams: int) -> Iterator[BenchFigure]:
    steps: Of = lambda r: r.long[OURS].longest_gap_s / r.long[OURS].step_s  # noqa: E731
    step_ms = median([one.long[OURS].step_s for one in rounds]) * 1e3
    detail = f"a step takes {step_ms:.1f} ms"
    yield at_most("long", "longest gap of the others, in steps", _values(rounds, steps), 4, detail)
    together: Of = lambda r: _together(r)[OURS] / _alone(r)[OURS]  # noqa: E731
    yield at_least("speed", f"{streams} streams ÷ 1 stream", _values(rounds, together), 2)


def _cost_of_kafka(rounds: Sequence[GenerationRound], streams: int) -> Iterator[BenchFigure]:
    lost: Of = lambda r: 1 - _together(r)[OURS] / _together(r)[ENGINE]  # noqa: E731
    yield at_most("Kafka", f"share of tokens/s lost, {streams} streams", _values(rounds, lost), 0.05)
    added: Of = lambda r: (r.alone[OURS].first_s[0] - r.alone[ENGINE].first_s[0]) * 1e3  # noqa: E731
    yield at_most("Kafka", "added to the first token of 1 stream, ms", _values(rounds, added), 8)


def _together(round_: GenerationRound) -> dict[str, float]:
    return {name: one.per_s for name, one in round_.together.items()}


def _alone(round_: GenerationRound) -> dict[str, float]:
    return {name: one.per_s for name, one in round_.alone.items()}


def _memory(resident_mb: Sequence[float]) -> BenchFigure:
    peak = max(resident_mb)
    return BenchFigure("memory", "resident, MB", peak, None, None, "", True, list(resident_mb))
