"""What MPNet adds to the scores of an attention: a number for each head, by the distance of two tokens.

Formula: Raffel et al. 2020 ("T5"): near distances have a bucket each, farther ones share buckets by their logarithm.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 128  # farther tokens are in the last bucket of their side


def bucket_of(distance: NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    """The bucket of each distance, key's position - query's position; a half of the ``buckets`` for each side."""
    side = buckets // 2
    exact = side // 2
    size = np.abs(distance)
    # float32, as in the original: in float64 a distance at a border falls into another bucket.
    logarithms = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact))
    share = logarithms / np.float32(np.log(MAX_DISTANCE / exact))
    far = exact + (share * np.float32(side - exact)).astype(np.int64)
    found: NDArray[np.int64] = np.where(size < exact, size, np.minimum(far, side - 1))
    return np.where(distance > 0, found + side, found)


def by_distance(bias: NDArray[Any], longest: int) -> NDArray[Any]:
    """``bias`` (buckets, heads) as (heads, 2 × longest - 1): for the distances from 1 - longest to longest - 1."""
    distances = np.arange(1 - longest, longest, dtype=np.int64)
    return np.ascontiguousarray(bias[bucket_of(distances, len(bias))].T)


def added_scores(bias: NDArray[Any], length: int) -> NDArray[Any]:
    """What is added to the scores of a text of ``length`` tokens; (heads, queries, keys)."""
    places = np.arange(length)
    return by_distance(bias, length)[:, places[None, :] - places[:, None] + length - 1]
