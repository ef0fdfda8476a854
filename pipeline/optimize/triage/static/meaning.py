"""Fits how the encoder's vectors follow from the layers of a static tier: urgency is judged in their space."""

from typing import Any, Final

import numpy as np

from ....tasks.triage.confidence import Floats
from .export import Meaning
from .network import Network, layers

SHARE: Final = 0.01
"""Of the mean square of a number of the layers: what is added to each, so that few texts fit as well (ridge)."""


def fitted_meaning(network: Network, bags: Any, vectors: Floats, counts: Floats) -> Meaning:
    """``vectors``: of the encoder for the same texts, (texts, dimensions). ``counts``: how often each text counts."""
    found = layers(network, bags)
    numbers = np.concatenate([found.vectors, found.active], axis=1).astype(np.float64)
    shares = (counts / counts.sum())[:, None]
    middle = (numbers * shares).sum(axis=0)
    target = (vectors * shares).sum(axis=0)
    centered = numbers - middle
    gram = (centered * shares).T @ centered
    gram += np.eye(len(gram)) * (SHARE * max(float(np.trace(gram)) / len(gram), 1e-9))
    weights = np.linalg.solve(gram, (centered * shares).T @ (vectors - target))
    return Meaning(weights.astype(np.float32), (target - middle @ weights).astype(np.float32))
