"""Percentiles and the interval of a median: one definition for all reports."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95


class MedianInterval(NamedTuple):
    """Limits between which the true value lies with 95 % confidence."""

    low: float
    high: float


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile by linear interpolation, both ends included (as NumPy's default method).

    ``percent`` is 0 to 100: the smallest to the largest value. Raises ValueError without values.
    """
    if not values:
        raise ValueError("A percentile needs at least one value.")
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    share = position - below
    return ordered[below] * (1 - share) + ordered[above] * share if share else ordered[below]


def median(values: Sequence[float]) -> float:
    """The 50th percentile. Raises ValueError without values."""
    return percentile(values, 50)


def median_interval(values: Sequence[float]) -> MedianInterval:
    """The 95 % confidence interval of the median, from order statistics; no distribution is assumed.

    Of n values in order, the k-th smallest to the k-th largest cover the true median with the probability
    1 - 2 P(B < k), B binomial(n, 1/2): the interval of the sign test (Conover, Practical Nonparametric
    Statistics, 3rd edition, Wiley 1999). k is the largest that gives 95 %: 3 of 12 values, 2 of 10.
    Fewer than 6 values cannot give 95 %: for them it is the whole range.
    Raises ValueError without values.
    """
    if not values:
        raise ValueError("An interval needs at least one value.")
    ordered = sorted(values)
    count = len(ordered)
    tail = (1 - CONFIDENCE) / 2 * 2**count
    cut = sum(below <= tail for below in accumulate(math.comb(count, k) for k in range(count)))
    cut = max(cut, 1)
    return MedianInterval(ordered[cut - 1], ordered[-cut])
