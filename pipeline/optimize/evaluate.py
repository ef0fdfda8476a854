"""How close the vectors of a variant are to those of its original, on labeled sentences, and how much
they depend on the other rows of a batch."""

from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Agreement, Independence
from ..runtime.encoder import collate
from ..runtime.graph import Graph
from ..tasks.pooling import Tokenizes, embed, pool

Embeddings = NDArray[np.float32]
SAMPLE = "sentences.tsv"
COMPANY_ROWS = 8


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


def independence(
    texts: Sequence[str], labels: Sequence[str], alone: Embeddings, tokenizer: Tokenizes, session: Graph
) -> Independence:
    """Embed ``texts`` in company and compare with ``alone``, their vectors when each window runs alone.

    Each text runs twice: beside texts of its own length, and in batches of COMPANY_ROWS in which long and
    short ones alternate, so that short ones are padded. The first texts have ``labels``; each text gets the
    label whose mean of these is nearest.
    """
    sorted_by_length = embed(texts, tokenizer, session)
    mixed = _embed_mixed(texts, tokenizer, session)
    means = _class_means(alone[: len(labels)], labels)
    given = (alone @ means.T).argmax(axis=1)
    changed = [(company @ means.T).argmax(axis=1) != given for company in (sorted_by_length, mixed)]
    return Independence(
        rows=len(texts),
        labels_changed=int(np.sum(changed[0] | changed[1])),
        largest_difference=float(max(np.abs(company - alone).max() for company in (sorted_by_length, mixed))),
    )


def _embed_mixed(texts: Sequence[str], tokenizer: Tokenizes, session: Graph) -> Embeddings:
    encoded = tokenizer.encode(texts)
    rows = [row for windows in encoded for row in windows]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    half = len(rows) // 2
    turns = [i for pair in zip(order[:half], reversed(order[half:]), strict=False) for i in pair]
    turns += order[half : len(rows) - half]
    vectors: list[Embeddings] = [np.empty(0, np.float32)] * len(rows)
    for start in range(0, len(rows), COMPANY_ROWS):
        batch = turns[start : start + COMPANY_ROWS]
        output = session.run(collate([rows[i] for i in batch], tokenizer.pad_id))[0]
        for i, vector in zip(batch, output, strict=True):
            vectors[i] = vector
    return pool(vectors, [len(row) for row in rows], [len(windows) for windows in encoded])


def _class_means(embeddings: Embeddings, labels: Sequence[str]) -> Embeddings:
    _, numbers = np.unique(np.array(labels), return_inverse=True)
    return _unit(np.eye(numbers.max() + 1, dtype=np.float32)[numbers].T @ embeddings)


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
