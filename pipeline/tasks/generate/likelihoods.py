"""How likely the model itself finds a token: before penalty, grammar and temperature."""

import numpy as np
from numpy.typing import NDArray

from ....schemas.generation import LikelyToken, TokenLogprobs

DECIMALS = 5


def logprobs_of(scores: NDArray[np.float32], token: int, count: int) -> TokenLogprobs:
    """The logarithm of the probability of ``token``, and the ``count`` most likely tokens, the best one first."""
    highest = float(scores.max())
    # As the sum is taken in one order, equal scores give equal logarithms.
    total = highest + float(np.log(np.exp(scores - np.float32(highest)).sum(dtype=np.float64)))

    def likely(index: int) -> float:
        return round(float(scores[index]) - total, DECIMALS)

    top = [LikelyToken(index, likely(index)) for index in _most_likely(scores, count)]
    return TokenLogprobs(likely(token), top)


def _most_likely(scores: NDArray[np.float32], count: int) -> list[int]:
    """Of equal ones, the first."""
    if not count:
        return []
    if count < scores.size:
        least = np.partition(scores, scores.size - count)[scores.size - count]
        found = np.flatnonzero(scores >= least)
    else:
        found = np.arange(scores.size)
    order = np.argsort(-scores[found], kind="stable")[:count]
    indexes: list[int] = found[order].tolist()
    return indexes
