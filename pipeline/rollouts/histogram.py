"""Times by their size: counts that several workers may add, and bounds of the quantiles behind them."""

import math
from collections.abc import Mapping
from typing import Final

from .evidence import exceeds

PER_DOUBLING: Final = 16
"""Buckets for each power of two: neighbors differ by 4.4 %."""

SPAN: Final = 400
"""Buckets on either side of 1: from 3e-8 to 3e7."""

Histogram = dict[int, int]
"""How often each bucket came. Bucket b has the values from 2^(b/16) to 2^((b+1)/16)."""


def count_value(histogram: Histogram, value: float) -> None:
    """Add one value."""
    bucket = -SPAN if value <= 0 else max(-SPAN, min(SPAN, math.floor(math.log2(value) * PER_DOUBLING)))
    histogram[bucket] = histogram.get(bucket, 0) + 1


def quantile_low(histogram: Mapping[int, int], share: float, alpha: float) -> float:
    """What the quantile exceeds, at all times at once with probability 1 - ``alpha``; 0 if that is not known.

    A quantile lies above each value that more than 1 - ``share`` of all exceed. The bets on all values share one
    ``alpha``: a wrong claim at any value is one at the quantile too (Howard and Ramdas 2022, Bernoulli 28).
    """
    total = sum(histogram.values())
    best = 0.0
    below = 0
    for bucket, count in sorted(histogram.items()):
        if not exceeds({1.0: total - below, 0.0: below}, 1 - share, alpha):
            break
        best = float(2 ** (bucket / PER_DOUBLING))
        below += count
    return best


def quantile_high(histogram: Mapping[int, int], share: float, alpha: float) -> float:
    """What the quantile stays below, at all times at once with probability 1 - ``alpha``; infinite if not known."""
    total = sum(histogram.values())
    best = math.inf
    above = 0
    for bucket, count in sorted(histogram.items(), reverse=True):
        if not exceeds({1.0: total - above, 0.0: above}, share, alpha):
            break
        best = float(2 ** ((bucket + 1) / PER_DOUBLING))
        above += count
    return best
