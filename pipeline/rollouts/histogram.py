"""Times by their size: counts that several workers may add, and bounds of the quantiles behind them."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

from .evidence import Counts, exceeds

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


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """The middle of the bucket with this quantile; None without values."""
    wanted = share * sum(histogram.values())
    seen = 0
    for bucket, count in sorted(histogram.items()):
        seen += count
        if seen >= wanted:
            return float(2 ** ((bucket + 0.5) / PER_DOUBLING))
    return None


def quantile_low(histogram: Mapping[int, int], share: float, alpha: float) -> float:
    """What the quantile exceeds, at all times at once with probability 1 - ``alpha``; 0 if that is not known.

    A quantile lies above each value that more than 1 - ``share`` of all exceed. The bets on all values share one
    ``alpha``: a wrong claim at any value is one at the quantile too (Howard and Ramdas 2022, Bernoulli 28).
    """
    found = _last_that_exceeds(sorted(histogram.items()), 1 - share, alpha)
    return 0.0 if found is None else float(2 ** (found / PER_DOUBLING))


def quantile_high(histogram: Mapping[int, int], share: float, alpha: float) -> float:
    """What the quantile stays below, at all times at once with probability 1 - ``alpha``; infinite if not known."""
    found = _last_that_exceeds(sorted(histogram.items(), reverse=True), share, alpha)
    return math.inf if found is None else float(2 ** ((found + 1) / PER_DOUBLING))


def _last_that_exceeds(buckets: Sequence[tuple[int, int]], share: float, alpha: float) -> int | None:
    """The last bucket so that it and those behind it have, for sure, more than this share of all values."""
    before = [0, *accumulate(count for _, count in buckets)]
    total = before[-1]
    # All buckets before one for which it is sure are sure too.
    sure = bisect_left(
        range(len(buckets)), True, key=lambda at: not exceeds(_counts(total, before[at]), share, alpha)
    )
    return buckets[sure - 1][0] if sure else None


def _counts(total: int, others: int) -> Counts:
    return {1.0: total - others, 0.0: others}
