"""Risk control: from which confidence on a cheap model may answer, so that few answers are other than those of the
model that it stands in for.

An answer changes if the cheap model gives it and the other one would give another. The share of changed answers can
only fall while the threshold rises. So the lowest threshold is taken whose bound, and that of each higher one, is
within the limit, and its bound holds although it was chosen on the same rows: Bates et al., Distribution-Free,
Risk-Controlling Prediction Sets (2021), theorem 1; Angelopoulos et al., Learn then Test (2021), for the fixed sequence
of thresholds. The bound is the exact one of Clopper and Pearson, since an answer has changed or has not. The
expectation is within the limit if the share with one more changed row is: Angelopoulos et al., Conformal Risk Control
(2022).
"""

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Bound = Literal["upper", "expected"]
"""What is within the limit: an upper 95 % bound of the share of changed answers, or its expectation."""

Flags = NDArray[np.bool_]
Scores = NDArray[np.float64]
ERROR: Final = 0.05
NEVER: Final = math.inf


def upper_bound(changed: int, rows: int) -> float:
    """The share that is above the true one with 95 % confidence (Clopper and Pearson 1934)."""
    return 1.0 if changed >= rows else float(beta.ppf(1 - ERROR, changed + 1, rows - changed))


def most_changed(rows: int, limit: float, bound: Bound) -> int:
    """The highest number of changed rows that keeps the bound within the limit; -1 if even none is too many."""
    if bound == "expected":
        return max(-1, math.floor(limit * (rows + 1) - 1 + 1e-9))
    low, high = -1, rows  # the bound of `low` is within the limit, that of `high` is not
    if limit >= 1:
        return rows
    while high - low > 1:
        middle = (low + high) // 2
        if upper_bound(middle, rows) <= limit:
            low = middle
        else:
            high = middle
    return low


def sure_from(scores: Scores, changed: Flags, limit: float, bound: Bound) -> float:
    """The lowest score from which on a row may be answered by the cheap model; `NEVER` if there are too few rows.

    ``changed``: whether its answer to a row is another one. Never below the lowest score of the rows.
    """
    allowed = most_changed(len(scores), limit, bound)
    if allowed < 0 or not len(scores):
        return NEVER
    wrong = np.sort(scores[changed])[::-1]
    if len(wrong) <= allowed:
        return float(scores.min())
    return float(np.nextafter(wrong[allowed], np.inf))
