"""Whether a candidate is worse than its limits allow, and whether it agrees with the stable version often enough."""

from collections.abc import Callable
from typing import Final, NamedTuple

from .evidence import Counts, exceeds, lower_bound, upper_bound
from .figures import RolloutFigures, SideFigures
from .histogram import Histogram, quantile_high, quantile_low
from .limits import RolloutLimits

FALSE_ALARM: Final = 0.01
"""Probability that a candidate within its limits is ever rolled back, at most, however often it is judged."""

MAX_CRASHES: Final = 2
"""Of workers while the candidate ran. One may be chance, or a `kill -9`."""

SEEN: Final = 4 / 3
"""How much more than its batches the latency may take that clients see. It depends on the load, which differs: a
candidate that is equal takes up to twice as long where its batches share one core with those of the stable version."""

QUANTILES: Final = {"the median": 0.5, "the 99th percentile": 0.99}


class Breach(NamedTuple):
    """A limit that the candidate has exceeded: ``what`` is the field of the limits, ``sentence`` has the figures."""

    what: str
    sentence: str


def breach(figures: RolloutFigures, limits: RolloutLimits) -> Breach | None:
    """The first limit that the candidate exceeds for sure; None if there is none."""
    if figures.crashes > MAX_CRASHES:
        return Breach("crashes", f"{figures.crashes} workers ended while requests were on its device")
    for check in CHECKS:
        if (found := check(figures, limits, FALSE_ALARM / len(CHECKS))) is not None:
            return found
    return None


def agrees_enough(figures: RolloutFigures, limits: RolloutLimits) -> bool:
    """Whether the two versions agree for sure on as many requests as the limits want."""
    return exceeds({1.0: figures.agreed, 0.0: figures.differed}, limits.agreement, FALSE_ALARM)


def failures(side: SideFigures) -> Counts:
    """The requests of a version by whether they failed."""
    return {1.0: side.failed, 0.0: side.answered}


def lost(figures: RolloutFigures) -> Counts:
    """Labeled requests by how many right answers the candidate loses."""
    same = figures.both_right + figures.both_wrong
    return {1.0: figures.stable_right, 0.0: same, -1.0: figures.candidate_right}


def _errors(figures: RolloutFigures, limits: RolloutLimits, alpha: float) -> Breach | None:
    candidate, stable = figures.candidate, figures.stable
    if not candidate.failed:
        return None
    least = lower_bound(failures(candidate), alpha / 2)
    if least <= upper_bound(failures(stable), alpha / 2) + limits.error_rate:
        return None
    return Breach(
        "error_rate",
        f"{_share(candidate.failed, candidate.answered + candidate.failed)} of its requests failed, of the stable "
        f"version's {_share(stable.failed, stable.answered + stable.failed)}; {limits.error_rate:.1%} more are allowed",
    )


def _slower(
    name: str, of: Callable[[SideFigures], Histogram], share: float, more: float = 1.0
) -> Callable[[RolloutFigures, RolloutLimits, float], Breach | None]:
    def check(figures: RolloutFigures, limits: RolloutLimits, alpha: float) -> Breach | None:
        allowed = limits.latency * more
        least = quantile_low(of(figures.candidate), share, alpha / 2)
        most = quantile_high(of(figures.stable), share, alpha / 2)
        if least <= allowed * most:
            return None
        return Breach(
            "latency",
            f"{name} is at least {least / most:.2f} times the stable version's; {allowed:g} times are allowed",
        )

    return check


def _differing(figures: RolloutFigures, limits: RolloutLimits, alpha: float) -> Breach | None:
    if not exceeds({1.0: figures.differed, 0.0: figures.agreed}, limits.disagreement, alpha):
        return None
    return Breach(
        "disagreement",
        f"{_share(figures.differed, figures.agreed + figures.differed)} of the compared answers differ from the stable "
        f"version's; {limits.disagreement:.1%} are allowed",
    )


def _accuracy(figures: RolloutFigures, limits: RolloutLimits, alpha: float) -> Breach | None:
    if not exceeds(lost(figures), limits.accuracy, alpha, lowest=-1.0):
        return None
    return Breach(
        "accuracy",
        f"of {figures.labeled:,} labeled requests the stable version alone is right on {figures.stable_right:,}, it "
        f"alone on {figures.candidate_right:,}; {limits.accuracy:.1%} fewer right answers are allowed",
    )


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})" if whole else "none"


CHECKS: Final = (
    _errors,
    *(
        _slower(f"{words} of its latency", lambda side: side.latency, share, SEEN)
        for words, share in QUANTILES.items()
    ),
    _slower("the median cost of its batches, at equal shapes,", lambda side: side.cost, 0.5),
    _differing,
    _accuracy,
)
