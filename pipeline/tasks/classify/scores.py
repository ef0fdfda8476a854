"""The scores of labels, from what a classifier computes for them."""

from typing import Final

import numpy as np

from ..pooling import Floats

DEFAULT_THRESHOLD: Final = 0.5
"""The score from which a model that may give several labels gives one."""
LARGEST: Final = np.float32(
    80
)  # exp() of more is infinite in float32; the score is 0 or 1 to all digits long before


def scores_of(logits: Floats, *, multi_label: bool) -> Floats:
    """Scores from 0 to 1, (rows, labels). They add up to 1 in each row, or each stands for itself if there may be
    several labels.
    """
    if multi_label:
        alone: Floats = np.reciprocal(1 + np.exp(np.clip(-logits, -LARGEST, LARGEST)))
        return alone
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
