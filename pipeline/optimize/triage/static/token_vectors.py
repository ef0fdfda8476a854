"""The first table of a static tier: what the encoder says of each token alone, with fewer numbers."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ....runtime.encoder import collate
from ....runtime.graph import Graph
from ....runtime.tokenizer import Tokenizer
from ....tasks.triage.confidence import Floats
from .rows import Rows

TOGETHER: Final = 128  # tokens of a run
SPREAD: Final = 0.5  # standard deviation of a number of the table
SMOOTHING: Final = 1e-4  # of the weights: Arora, Liang and Ma 2017


class FirstTable(NamedTuple):
    """A row of numbers, and the logarithm of its weight, for each row of `Rows`. Pairs begin with zeros."""

    rows: Floats  # (rows, width)
    log_weights: Floats  # (rows, 1)


def first_table(
    rows: Rows, width: int, tokenizer: Tokenizer, session: Graph, advance: Callable[[int, int], None]
) -> FirstTable:
    """Principal components of the encoder's vectors of single tokens; a frequent token weighs less."""
    vectors = _vectors(rows.tokens, tokenizer, session, advance)
    centered = vectors.astype(np.float64) - vectors.mean(axis=0)
    with threadpool_limits(1):  # the same on any number of cores
        _, directions = np.linalg.eigh(centered.T @ centered)
        components = centered @ directions[:, ::-1][:, :width]
    table = np.zeros((rows.total, width), np.float32)
    table[: len(vectors), : components.shape[1]] = components / max(float(components.std()), 1e-9) * SPREAD
    log_weights = np.zeros((rows.total, 1), np.float32)
    log_weights[: len(vectors), 0] = _log_weights(rows.tokens)
    return FirstTable(table, log_weights)


def _vectors(
    tokens: NDArray[np.int32], tokenizer: Tokenizer, session: Graph, advance: Callable[[int, int], None]
) -> Floats:
    made = []
    for start in range(0, len(tokens), TOGETHER):
        advance(start, len(tokens))
        windows = [tokenizer.window([token]) for token in tokens[start : start + TOGETHER].tolist()]
        made.append(session.run(collate(windows, tokenizer.pad_id))[0])
    advance(len(tokens), len(tokens))
    return np.concatenate(made)


def _log_weights(tokens: NDArray[np.int32]) -> Floats:
    """Weights as for a vocabulary in the order of frequency, whose frequencies follow Zipf's law."""
    ranks = np.arange(1, len(tokens) + 1)
    shares = 1 / ranks / np.log(len(tokens) + 1)
    weights: Floats = np.log(SMOOTHING / (SMOOTHING + shares)).astype(np.float32)
    return weights
