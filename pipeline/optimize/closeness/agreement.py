"""How close the vectors of a variant are to those of its original, on labeled sentences, and how much
they depend on the other rows of a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.manifest import Agreement, Independence, ScoreAgreement
from ...runtime.encoder import collate
from ...runtime.graph import Graph
from ...tasks.classify.scores import DEFAULT_THRESHOLD, scores_of
from ...tasks.pooling import Pooled, Tokenizes, embed, mean, pool

Embeddings = NDArray[np.float32]
COMPANY_ROWS = 8


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
    means = _class_means(alone[: len(labels)], labels)
    return _independence(
        alone,
        _in_company(texts, tokenizer, session, pool),
        lambda vectors: (vectors @ means.T).argmax(axis=1),
    )


def _independence(
    alone: Embeddings, company: Sequence[Embeddings], labeled: Callable[[Embeddings], NDArray[Any]]
) -> Independence:
    """``labeled``: the label of each row, or its labels."""
    given = labeled(alone).reshape(len(alone), -1)
    changed = [(labeled(beside).reshape(len(alone), -1) != given).any(axis=1) for beside in company]
    return Independence(
        rows=len(alone),
        labels_changed=int(np.sum(np.any(changed, axis=0))),
        largest_difference=float(max(np.abs(beside - alone).max() for beside in company)),
    )


def _in_company(
    texts: Sequence[str], tokenizer: Tokenizes, session: Graph, pooled: Pooled
) -> tuple[Embeddings, Embeddings]:
    """The outputs of the texts beside texts of their own length, and among longer and shorter ones."""
    return embed(texts, tokenizer, session, pooled=pooled), _embed_mixed(texts, tokenizer, session, pooled)


def score_agreement(
    original: Embeddings, variant: Embeddings, *, multi_label: bool, sample: str
) -> ScoreAgreement:
    """Compare the scores of a classifier, (sentences, labels), with those of its original."""
    differences = np.abs(original - variant)
    same = labels_chosen(original, multi_label=multi_label) == labels_chosen(variant, multi_label=multi_label)
    return ScoreAgreement(
        label=float(np.mean(same.all(axis=1))),
        mean_difference=float(differences.mean()),
        largest_difference=float(differences.max()),
        sentences=len(original),
        sample=sample,
    )


def independence_of_scores(
    texts: Sequence[str], alone: Embeddings, tokenizer: Tokenizes, session: Graph, *, multi_label: bool
) -> Independence:
    """`independence` for the scores of a classifier."""
    company = [
        scores_of(logits, multi_label=multi_label) for logits in _in_company(texts, tokenizer, session, mean)
    ]
    return _independence(alone, company, lambda scores: labels_chosen(scores, multi_label=multi_label))


def labels_chosen(scores: Embeddings, *, multi_label: bool) -> NDArray[np.bool_]:
    """Which labels each row of scores gives; (rows, labels)."""
    if multi_label:
        chosen: NDArray[np.bool_] = scores >= DEFAULT_THRESHOLD
        return chosen
    best: NDArray[np.bool_] = np.eye(scores.shape[1], dtype=bool)[scores.argmax(axis=1)]
    return best


def _embed_mixed(texts: Sequence[str], tokenizer: Tokenizes, session: Graph, pooled: Pooled) -> Embeddings:
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
    return pooled(vectors, [len(row) for row in rows], [len(windows) for windows in encoded])


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
