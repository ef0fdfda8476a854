"""What is known of a candidate: figures with intervals, and whether it is better or worse."""

from typing import Final, Literal

from msgspec import Struct

from .evidence import Counts, lower_bound, upper_bound
from .figures import RolloutFigures
from .histogram import Histogram, quantile, quantile_high, quantile_low
from .judgement import breach, failures, lost
from .limits import RolloutLimits

ALPHA: Final = 0.05
"""Each interval holds the true value at all times at once with a probability of 95 %."""

Verdict = Literal["better", "worse", "not known"]


class Bounded(Struct, frozen=True):
    """A figure and what it lies between. None: nothing is known."""

    value: float | None
    low: float | None
    high: float | None


class RolloutReport(Struct, frozen=True):
    """A candidate beside the stable version.

    Attributes:
        verdict: from the labels; "worse" also if a limit is exceeded.
        why: a sentence for it.
        requests: that the candidate answered, and the stable version.
        error_rate: of the candidate, less that of the stable version.
        latency_p50, latency_p99: of what clients see, in times of the stable version's.
        cost: the median of a batch, in times of the stable version's at equal shapes.
        disagreement: share of the compared answers that differ.
        accuracy: of the candidate, less that of the stable version, on labeled requests.
        compared, labeled: the numbers of requests behind these.
    """

    verdict: Verdict
    why: str
    requests: tuple[int, int]
    error_rate: Bounded
    latency_p50: Bounded
    latency_p99: Bounded
    cost: Bounded
    disagreement: Bounded
    accuracy: Bounded
    compared: int
    labeled: int


def rollout_report(figures: RolloutFigures, limits: RolloutLimits) -> RolloutReport:
    """The report on these figures."""
    candidate, stable = figures.candidate, figures.stable
    compared = {1.0: figures.differed, 0.0: figures.agreed}
    gained = {-value: count for value, count in lost(figures).items()}
    accuracy = _mean(gained, lowest=-1.0)
    verdict, why = _verdict(figures, limits, accuracy)
    return RolloutReport(
        verdict,
        why,
        (candidate.answered, stable.answered),
        _difference(failures(candidate), failures(stable)),
        _ratio(candidate.latency, stable.latency, 0.5),
        _ratio(candidate.latency, stable.latency, 0.99),
        _ratio(candidate.cost, stable.cost, 0.5),
        _mean(compared),
        accuracy,
        figures.agreed + figures.differed,
        figures.labeled,
    )


def _verdict(figures: RolloutFigures, limits: RolloutLimits, accuracy: Bounded) -> tuple[Verdict, str]:
    if (found := breach(figures, limits)) is not None:
        return "worse", f"A limit is exceeded: {found.sentence}."
    if not figures.labeled:
        return (
            "not known",
            "No limit is exceeded. There are no labels, so which answers are right is not known.",
        )
    if accuracy.low is not None and accuracy.low > 0:
        return "better", "It answers more of the labeled requests rightly, and no limit is exceeded."
    if accuracy.high is not None and accuracy.high < 0:
        return "worse", "It answers fewer of the labeled requests rightly, though not by more than its limit."
    return "not known", "No limit is exceeded, and on the labeled requests there is no sure difference yet."


def _mean(counts: Counts, lowest: float = 0.0) -> Bounded:
    number = sum(counts.values())
    if not number:
        return Bounded(None, None, None)
    value = sum(value * count for value, count in counts.items()) / number
    return Bounded(value, lower_bound(counts, ALPHA / 2, lowest), upper_bound(counts, ALPHA / 2, lowest))


def _difference(one: Counts, other: Counts) -> Bounded:
    first, second = _mean(one), _mean(other)
    if first.value is None or second.value is None:
        return Bounded(None, None, None)
    alpha = ALPHA / 4
    low = lower_bound(one, alpha) - upper_bound(other, alpha)
    return Bounded(first.value - second.value, low, upper_bound(one, alpha) - lower_bound(other, alpha))


def _ratio(one: Histogram, other: Histogram, share: float) -> Bounded:
    first, second = quantile(one, share), quantile(other, share)
    if first is None or second is None:
        return Bounded(None, None, None)
    alpha = ALPHA / 4
    low = quantile_low(one, share, alpha) / quantile_high(other, share, alpha)
    least = quantile_low(other, share, alpha)
    most = quantile_high(one, share, alpha)
    return Bounded(first / second, low, most / least if least and most < float("inf") else None)
