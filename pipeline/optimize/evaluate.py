"""How close the vectors of a variant are to those of its original, on labeled sentences."""

from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Agreement

Embeddings = NDArray[np.float32]
SAMPLE = "sentences.tsv"


def load_sample() -> tuple[list[str], list[str]]:
    """(sentences, labels) of the sample that inferstream ships."""
    text = resources.files(__package__).joinpath(SAMPLE).read_text("utf-8")
    rows = [line.split("\t", 1) for line in text.splitlines() if line]
    return [row[1] for row in rows], [row[0] for row in rows]


def agreement(original: Embeddings, variant: Embeddings, labels: Sequence[str], sample: str) -> Agreement:
    """Compare unit vectors (sentences, dimensions) row by row: the cosine, and whether the labels
    are equal.

    A sentence gets the label with the highest cosine to the mean of the label's *other* sentences.
    """
    cosines = np.sum(original * variant, axis=1)
    return Agreement(
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        label=float(np.mean(_nearest(original, labels) == _nearest(variant, labels))),
        sentences=len(labels),
        sample=sample,
    )


def _nearest(embeddings: Embeddings, labels: Sequence[str]) -> NDArray[np.intp]:
    """For each row the index of its nearest label; the row itself is left out of its label's mean."""
    _, numbers = np.unique(np.array(labels), return_inverse=True)
    totals = np.eye(numbers.max() + 1, dtype=np.float32)[numbers].T @ embeddings
    scores = embeddings @ _unit(totals).T
    rows = np.arange(len(labels))
    scores[rows, numbers] = np.sum(embeddings * _unit(totals[numbers] - embeddings), axis=1)
    nearest: NDArray[np.intp] = scores.argmax(axis=1)
    return nearest


def _unit(vectors: Embeddings) -> Embeddings:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Embeddings = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit
