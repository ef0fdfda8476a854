"""Fits how the encoder's vectors follow from the layers of a static tier: urgency is judged in their space."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ....tasks.triage.confidence import Floats
from .export import Meaning
from .network import Network, layers

SHARE: Final = 0.01
"""Of the mean square of a number of the layers: what is added to each, so that few texts fit as well (ridge)."""


GENERAL: Final = 0.3
"""How much the sentences of other domains count together, and again the phrases, as a share of the rows: with less,
the phrases, which are not in the rows' words, are judged by chance."""


class GeneralTexts(NamedTuple):
    """Texts beside the rows of the fit: sentences of a shipped sample, then the phrases that an axis is made of."""

    texts: Sequence[str]
    vectors: Floats  # of the encoder
    sentences: int  # how many of the texts are that

    def counts_beside(self, rows: int) -> Floats:
        """How often each row, then each of these texts, counts in the fit."""
        phrases = len(self.texts) - self.sentences
        of_sentences = np.full(self.sentences, GENERAL * rows / max(self.sentences, 1))
        of_phrases = np.full(phrases, GENERAL * rows / max(phrases, 1))
        return np.concatenate([np.ones(rows), of_sentences, of_phrases]).astype(np.float32)


def fitted_meaning(network: Network, bags: Any, vectors: Floats, counts: Floats) -> Meaning:
    """``vectors``: of the encoder for the same texts, (texts, dimensions). ``counts``: how often each text counts."""
    found = layers(network, bags)
    numbers = np.concatenate([found.vectors, found.active], axis=1).astype(np.float64)
    shares = (counts / counts.sum())[:, None]
    middle = (numbers * shares).sum(axis=0)
    target = (vectors * shares).sum(axis=0)
    centered = numbers - middle
    with threadpool_limits(1):  # two threads that wait for each other, and for other processes, take longer
        gram = (centered * shares).T @ centered
        gram += np.eye(len(gram)) * (SHARE * max(float(np.trace(gram)) / len(gram), 1e-9))
        weights = np.linalg.solve(gram, (centered * shares).T @ (vectors - target))
    return Meaning(weights.astype(np.float32), (target - middle @ weights).astype(np.float32))
