"""Intervals of shares by the bootstrap (Efron 1979), 95 %.

To draw n rows with replacement is to draw how many rows of each kind there are, from a multinomial distribution. So
the draws need neither the rows nor memory for them.
"""

import numpy as np
from numpy.typing import NDArray

from ....models.metrics import Estimate

DRAWS = 10_000
SEED = 0
LOW, HIGH = 2.5, 97.5  # percentiles

Hits = NDArray[np.bool_]


def share_of(hits: Hits, seed: int = SEED) -> Estimate:
    """The share of the rows that are true. Raises ValueError without a row."""
    count, rows = int(hits.sum()), _rows(hits)
    drawn = np.random.default_rng(seed).binomial(rows, count / rows, DRAWS) / rows
    return _estimate(count / rows, drawn)


def kept_share(original: Hits, variant: Hits, seed: int = SEED) -> Estimate:
    """The variant's hits ÷ the original's, on the same rows: what both get right or wrong widens nothing."""
    rows = _rows(original)
    both = int((original & variant).sum())
    lost = int(original.sum()) - both
    won = int(variant.sum()) - both
    kinds = np.array([both, lost, won, rows - both - lost - won]) / rows
    drawn = np.random.default_rng(seed).multinomial(rows, kinds, DRAWS)
    shares = (drawn[:, 0] + drawn[:, 2]) / np.maximum(drawn[:, 0] + drawn[:, 1], 1)
    return _estimate((both + won) / max(both + lost, 1), shares)


def agreeing(same: Hits) -> Estimate:
    """The share of rows with the same answer, with the exact interval (Clopper and Pearson 1934).

    Not by the bootstrap: without one row that differs it would say that there is none among all rows to come.
    """
    from scipy.stats import beta  # in the extra `fit`

    count, rows = int(same.sum()), _rows(same)
    tail = LOW / 100
    low = float(beta.ppf(tail, count, rows - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, rows - count)) if count < rows else 1.0
    return Estimate(count / rows, low, high)


def _rows(hits: Hits) -> int:
    if not len(hits):
        raise ValueError("A share needs at least one row.")
    return len(hits)


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(drawn, (LOW, HIGH))
    return Estimate(float(value), float(low), float(high))
