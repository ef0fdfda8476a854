"""Chooses a token by its score. The options mean what they mean in Hugging Face transformers, in the same order:
penalty, grammar, temperature, top-k, top-p, min-p. Of tokens with equal scores all are kept or none.

Each limit is a least score. What is below it is left out before anything is sorted or exponentiated.
"""

import math
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DeviceError

Scores = NDArray[np.float32]

COLDEST: Final = 1e-6
"""The lowest temperature: float32 cannot tell scores apart that differ by less."""
FARTHEST: Final = np.finfo(np.float32).max
BLOCK: Final = 256
"""Weights that are added up at once, before the sums are: 49 152 running sums take 0.39 ms, 192 take nothing."""


class Sampling(NamedTuple):
    """How a token is drawn. ``temperature`` is above 0; a top-k or min-p of 0 and a top-p of 1 leave nothing out."""

    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def penalized(scores: Scores, seen: NDArray[np.intp], penalty: float) -> Scores:
    """A copy in which the tokens ``seen`` have less: positive scores divided, negative ones multiplied."""
    result = scores.copy()
    found = result[seen]
    with np.errstate(
        all="ignore"
    ):  # a penalty near 0 makes an infinity, which would look like a fault of the model
        changed = np.where(found > 0, found / np.float32(penalty), found * np.float32(penalty))
    result[seen] = np.where(np.isfinite(found), np.clip(changed, -FARTHEST, FARTHEST), found)
    return result


def best(scores: Scores) -> int:
    """The first of the tokens with the highest score. Raises DeviceError if the scores are no numbers."""
    index = int(scores.argmax())
    if not math.isfinite(scores[index]):
        raise DeviceError("The model has given scores that are no numbers: another input may work.")
    return index


def drawn(scores: Scores, sampling: Sampling, draw: float) -> int:
    """The token that ``draw``, from 0 up to 1, hits. Raises DeviceError as `best`."""
    top = scores[best(scores)]
    with np.errstate(over="ignore"):  # a difference that is too large is one of infinity
        logits = (scores - top) / np.float32(max(sampling.temperature, COLDEST))
    least = least_kept(logits, sampling)
    if least == -math.inf:
        return _hit(np.exp(logits), draw)
    kept = np.flatnonzero(logits >= least)
    return int(kept[_hit(np.exp(logits[kept]), draw)])


def least_kept(logits: Scores, sampling: Sampling) -> float:
    """The lowest logit that may be drawn, of ``logits`` whose highest one is 0."""
    least = -math.inf
    if 0 < sampling.top_k < logits.size:
        least = float(np.partition(logits, logits.size - sampling.top_k)[logits.size - sampling.top_k])
    if sampling.top_p < 1:
        kept = logits[logits >= least] if least > -math.inf else logits
        least = max(least, _least_of_most(kept, sampling.top_p))
    if sampling.min_p > 0:
        # Relative to the best token, so it is the same before top-k and top-p.
        least = max(least, float(np.float32(math.log(sampling.min_p))))
    return least


def _least_of_most(logits: Scores, share: float) -> float:
    """The lowest of the most likely tokens that have, together, ``share`` of the probability."""
    total = float(np.exp(logits).sum(dtype=np.float64))
    # All tokens below it have, together, less than the rest: they need not be sorted.
    floor = math.log(total * (1 - share) / logits.size) - 1e-3
    order = np.sort(logits[logits >= floor])[::-1]
    return float(order[_where_sum_is(np.exp(order), share * total, "left")])


def _hit(weights: Scores, draw: float) -> int:
    """The index that ``draw`` hits, if each has a part of 0 to 1 that is as large as its weight."""
    total = float(np.add.reduce(weights, dtype=np.float64))
    return _where_sum_is(weights, draw * total, "right")


def _where_sum_is(weights: Scores, wanted: float, side: Literal["left", "right"]) -> int:
    """The first index at which the running sum is ``wanted``, or above it; "right": only above it."""
    starts = np.arange(0, weights.size, BLOCK)
    sums = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    wanted = min(wanted, float(np.nextafter(sums[-1], 0)))
    block = int(np.searchsorted(sums, wanted, side))
    before = float(sums[block - 1]) if block else 0.0
    part = weights[starts[block] : starts[block] + BLOCK]
    index = int(np.searchsorted(np.cumsum(part, dtype=np.float64), wanted - before, side))
    if index >= part.size:  # sums in another order differ in their last bits
        index = int(np.flatnonzero(part)[-1])
    return int(starts[block]) + index
