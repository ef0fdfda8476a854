"""How much of the accuracy of an encoder a smaller variant keeps, on labeled texts that neither was made with.

For each of the two a logistic regression is fitted on its vectors, since a fitted model is for one encoder; then
both classify the same unseen texts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ..models.manifest import KeptAccuracy
from ..runtime.graph import Graph
from ..tasks.pooling import Tokenizes, embed
from .evaluate import Embeddings

INVERSE_REGULARIZATION = 10.0  # the middle one of those that `triage fit` tries
MAX_ITERATIONS = 5_000
DRAWS = 2_000  # of the bootstrap
SEED = 0
LOW, HIGH = 2.5, 97.5  # percentiles

Hits = NDArray[np.bool_]
Texts = Sequence[str]
Labels = Sequence[str]


def hits(
    fit_on: tuple[Texts, Labels], unseen: tuple[Texts, Labels], tokenizer: Tokenizes, session: Graph
) -> Hits:
    """For each unseen text, whether it gets its label from a regression on the vectors of ``fit_on``."""
    model = LogisticRegression(C=INVERSE_REGULARIZATION, max_iter=MAX_ITERATIONS)
    model.fit(_vectors(fit_on[0], tokenizer, session), fit_on[1])
    given = model.predict(_vectors(unseen[0], tokenizer, session))
    right: Hits = given == np.asarray(unseen[1])
    return right


def kept_accuracy(
    original: Hits,
    variant: Hits,
    fitted: int,
) -> KeptAccuracy:
    """Compare the hits on the same rows; the interval is a paired bootstrap's (Efron 1979), 95 %."""
    draw = np.random.default_rng(SEED).integers(0, len(original), (DRAWS, len(original)))
    shares = variant[draw].sum(axis=1) / np.maximum(original[draw].sum(axis=1), 1)
    low, high = np.percentile(shares, (LOW, HIGH))
    return KeptAccuracy(
        variant=float(variant.mean()),
        original=float(original.mean()),
        low=float(low),
        high=float(high),
        fitted=fitted,
        rows=len(original),
    )


def _vectors(texts: Texts, tokenizer: Tokenizes, session: Graph) -> Embeddings:
    return embed(texts, tokenizer, session)
