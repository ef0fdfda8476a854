"""The figures of shared beginnings, of several workers, and of exact texts."""

from collections.abc import Sequence

from ..bench.figures import BenchFigure, at_least
from ..statistics import median
from .exact_suite import ExactMeasurements
from .prefix_suite import KEEPING, PLAIN, PrefixMeasurements


def prefix_figures(measured: PrefixMeasurements) -> list[BenchFigure]:
    """Tokens per second with kept beginnings against without."""
    values = [one[KEEPING].per_s / one[PLAIN].per_s for one in measured.rounds]
    first_s = {
        name: median([sum(one[name].first_s) / len(one[name].first_s) for one in measured.rounds])
        for name in (KEEPING, PLAIN)
    }
    shortest, longest = min(measured.lengths), max(measured.lengths)
    detail = f"prompts of {shortest} to {longest} tokens; first token after {first_s[KEEPING]:.2f} s "
    detail += f"against {first_s[PLAIN]:.2f} s"
    what = f"{len(measured.lengths)} prompts that share {measured.shared} tokens, kept ÷ not"
    return [at_least("prefix", what, values, 1.8, detail)]


def scaling_figures(rounds: Sequence[dict[str, float]]) -> list[BenchFigure]:
    """Two and four workers against one."""
    return [_scaling(rounds, "2-workers", 2, 0.98), _scaling(rounds, "4-workers", 4, 0.95)]


def _scaling(rounds: Sequence[dict[str, float]], name: str, workers: int, goal: float) -> BenchFigure:
    values = [one[name] / workers / one["1-worker"] for one in rounds]
    one, all_of = (median([round_[fleet] for round_ in rounds]) for fleet in ("1-worker", name))
    detail = f"{all_of:.0f} tokens/s against {one:.0f}, on a device that sleeps"
    return at_least("scaling", f"{workers} workers ÷ {workers} times one", values, goal, detail)


def exact_figures(measured: ExactMeasurements) -> list[BenchFigure]:
    """How many texts differ from those made alone."""
    return [
        _none(f"of {measured.streams} streams, other tokens in company", measured.in_company),
        _none("the same, also read in chunks of 16", measured.other_chunks),
    ]


def _none(what: str, count: int) -> BenchFigure:
    return BenchFigure("exact", what, count, None, None, "= 0", count == 0, [count])
