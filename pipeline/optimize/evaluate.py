"""How close a variant of an encoder stays to its original, on labelled sentences."""

from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Agreement
from ..runtime.sessions import Session
from ..runtime.tokenizer import Tokenizer

Embeddings = NDArray[np.float32]
SAMPLE = "sentences.tsv"


def load_sample() -> tuple[list[str], list[str]]:
    """The sentences that come with inferstream, and their labels."""
    text = resources.files(__package__).joinpath(SAMPLE).read_text("utf-8")
    rows = [line.split("\t", 1) for line in text.splitlines() if line]
    return [row[1] for row in rows], [row[0] for row in rows]


def embed(session: Session, tokenizer: Tokenizer, texts: Sequence[str]) -> Embeddings:
    """One vector of length 1 a text, (texts, dimensions); windows of a long text are averaged by their tokens."""
    rows = []
    for windows in tokenizer.encode(texts):
        weights = np.array([len(window) for window in windows], np.float32)
        vectors = np.concatenate([_run(session, window) for window in windows])
        pooled = weights @ vectors
        rows.append(pooled / np.linalg.norm(pooled))
    return np.array(rows, np.float32)


def agreement(original: Embeddings, variant: Embeddings, labels: Sequence[str], sample: str) -> Agreement:
    """Compare row by row: the cosine, and whether both give a sentence the same label.

    A sentence gets the label whose *other* sentences are nearest in the mean.
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
    """For each row the number of its nearest label, itself left out of that label's mean."""
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


def _run(session: Session, window: Sequence[int]) -> Embeddings:
    ids = np.array([window], np.int64)
    embedding: Embeddings = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    return embedding
