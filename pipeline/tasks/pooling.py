"""Turns texts into vectors: pads rows of tokens to a batch, runs the encoder, pools the windows of each text."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..runtime.encoder import collate
from ..runtime.graph import Graph
from ..runtime.vocabulary import Reading

Floats = NDArray[np.float32]
Pooled = Callable[[Sequence[Floats], Sequence[int], Sequence[int]], Floats]
"""`pool` or `mean`."""

BATCH_TOKENS = 512  # default bound of the padded tokens of one batch outside the engine


class Tokenizes(Protocol):
    """The part of `runtime/tokenizer.Tokenizer` that a task uses."""

    pad_id: int

    def encode(self, texts: Sequence[str], limit: int | None = None) -> list[list[Sequence[int]]]: ...

    def reading(self, text: str, windows: Sequence[Sequence[int]]) -> Reading: ...


def pool(outputs: Sequence[Floats], lengths: Sequence[int], windows: Sequence[int]) -> Floats:
    """One unit vector for each text: the mean of its windows, weighted by their tokens.

    Args:
        outputs: one vector for each window; the windows of a text are adjacent.
        lengths: the number of tokens of each window.
        windows: the number of windows of each text, at least one.
    """
    vectors: Floats = np.array(outputs, np.float32)
    if len(windows) < len(outputs):
        weighted = vectors * np.asarray(lengths, np.float32)[:, None]
        starts = np.concatenate(([0], np.cumsum(windows[:-1], dtype=np.intp)))
        vectors = np.add.reduceat(weighted, starts, axis=0)
    return unit(vectors)


def mean(outputs: Sequence[Floats], lengths: Sequence[int], windows: Sequence[int]) -> Floats:
    """As `pool`, with the length that the mean has: for a text of one window, the encoder's own vector."""
    vectors: Floats = np.array(outputs, np.float32)
    if len(windows) == len(outputs):
        return vectors
    starts = np.concatenate(([0], np.cumsum(windows[:-1], dtype=np.intp)))
    weights = np.asarray(lengths, np.float32)
    sums: Floats = np.add.reduceat(vectors * weights[:, None], starts, axis=0)
    totals: Floats = np.add.reduceat(weights, starts)
    means: Floats = sums / totals[:, None]
    return means


def unit(vectors: Floats) -> Floats:
    """The vectors, scaled to length 1; a vector of zeros stays as it is."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    scaled: Floats = vectors / np.maximum(norms, np.float32(1e-12))[:, None]
    return scaled


def embed(
    texts: Sequence[str],
    tokenizer: Tokenizes,
    session: Graph,
    advance: Callable[[int, int], None] | None = None,
    batch_tokens: int = BATCH_TOKENS,
    *,
    pooled: Pooled = pool,
) -> Floats:
    """Unit vectors of shape (texts, dimensions), computed outside the engine.

    Args:
        advance: called after each batch with (windows in this batch, windows in total).
        batch_tokens: the largest number of padded tokens of one batch; with 1, each window runs alone.
        pooled: what becomes of the outputs of a text's windows; `mean` for the scores of a classifier.
    """
    encoded = tokenizer.encode(texts)
    rows = list(chain.from_iterable(encoded))
    vectors: list[Floats] = [np.empty(0, np.float32)] * len(rows)
    for batch in pack(rows, batch_tokens):
        output = session.run(collate([rows[i] for i in batch], tokenizer.pad_id))[0]
        for i, vector in zip(batch, output, strict=True):
            vectors[i] = vector
        if advance:
            advance(len(batch), len(rows))
    return pooled(vectors, [len(row) for row in rows], [len(text) for text in encoded])


def pack(rows: Sequence[Sequence[int]], batch_tokens: int) -> list[list[int]]:
    """Batches of rows with similar lengths, the shortest first; a batch is a list of indices of
    ``rows``.

    A batch has at most ``batch_tokens`` padded tokens; a row that is longer than that runs alone.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if batches and len(rows[i]) * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
