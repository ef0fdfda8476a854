"""A translator: the whole translation of a row in one step, because the search is a loop in the graph."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..graphs.marian.shortlist import Shortlist
from .graph import Feeds, Graph
from .model import RUN, Row
from .subwords import END

BLOCK = 16
"""The choices of a batch are filled up to a multiple of it, see `graphs/marian/translator`."""


FIRST_WORD = 2  # behind the end and the unknown token


class SourceRow(Row):
    """One source text with its end, and what its translation begins with, without an end."""

    __slots__ = ("prefix",)

    def __init__(self, tokens: Sequence[int], prefix: Sequence[int] = ()) -> None:
        super().__init__(tokens)
        self.prefix = prefix
        self.given = len(prefix)


class Translation(NamedTuple):
    """What follows the prefix of a row. ``ended`` is false if the length factor of the model stopped it."""

    tokens: list[int]
    ended: bool


class Translator:
    """The `Model` of a graph that translates; see `graphs/marian/translator`. Its rows are `SourceRow`."""

    phases: Sequence[str] = (RUN,)

    def __init__(self, graph: Graph, shortlist: Shortlist) -> None:
        self.graph = graph
        self._shortlist = shortlist

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """For each row its `Translation`. The other rows change neither its tokens nor any bit on the way."""
        ids, ended = self.graph.run(self.feeds(rows))
        counts = (ids != END).sum(axis=1)
        for row, made in zip(rows, (counts + ended).tolist(), strict=True):
            row.made = made
        return [
            Translation(tokens[:count].tolist(), bool(end))
            for tokens, count, end in zip(ids, counts, ended, strict=True)
        ]

    def drop(self, rows: Sequence[Row]) -> None:
        """Nothing stays on the device."""

    def examples(self, count: int, length: int) -> Sequence[Row]:
        """Sources that fill half of ``length``, with tokens as frequent as those of real texts.

        A vocabulary is sorted by frequency, so by Zipf's law the logarithm of a token is evenly distributed: half
        of these tokens are below 253, and half of those of FLORES below 461. They have as many choices as real
        ones, and translations as long.
        """
        generator = np.random.default_rng(0)
        words = self._shortlist.words
        shape = (count, max(1, length // 2 - 1))
        tokens = (FIRST_WORD * (words / FIRST_WORD) ** generator.random(shape)).astype(int)
        return [SourceRow([*row, END]) for row in tokens.tolist()]

    def feeds(self, rows: Sequence[Row]) -> Feeds:
        """The inputs of the graph for ``rows``."""
        tokens, mask = _padded([row.tokens for row in rows], 2)
        prefix, prefix_mask = _padded([getattr(row, "prefix", ()) for row in rows], 1)
        choices = [self._shortlist.candidates(row.tokens) for row in rows]
        widest = -(-max(map(len, choices)) // BLOCK) * BLOCK
        candidates = np.zeros((len(rows), widest), np.int64)
        for row, found in zip(candidates, choices, strict=True):
            row[: len(found)] = found
        return {
            "input_ids": tokens,
            "attention_mask": mask,
            "prefix_ids": prefix,
            "prefix_mask": prefix_mask,
            "candidates": candidates,
        }


def _padded(rows: Sequence[Sequence[int]], shortest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids and mask, of the length of the longest row, or ``shortest`` if that is more."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    real = np.arange(max(int(lengths.max()), shortest)) < lengths[:, None]
    ids = np.zeros(real.shape, np.int64)
    ids[real] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return ids, real.astype(np.int64)
