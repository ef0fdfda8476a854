"""Which word of a translation stands for which word of its source: by the lists of words that the model may choose."""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...graphs.marian.shortlist import Shortlist

UNIT: Final = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")
SAME: Final = 3.0
"""Weight of a token that is the same in both languages, as names and numbers are; of another one at most 1.4."""

NEARNESS: Final = 3.0
"""How much a place far from that of the source counts less; 2 to 8 give the same words on FLORES."""


class Unit(NamedTuple):
    """A word or a sign, and its place in the text."""

    start: int
    end: int
    text: str


def units_of(text: str) -> list[Unit]:
    """The words and signs of ``text``."""
    return [Unit(*found.span(), found[0]) for found in UNIT.finditer(text)]


class Aligner:
    """Aligns words. The shortlist has the 50 best translations of each token, as the training saw them."""

    def __init__(self, encode: Callable[[str], list[int]], shortlist: Shortlist) -> None:
        self._encode = encode
        self._shortlist = shortlist
        # A token that may translate nearly any other one, as an article, says little.
        self._weights = 1 / np.log(2.0 + shortlist.counts())

    def links(self, source: Sequence[Unit], target: Sequence[Unit]) -> list[int | None]:
        """For each unit of the source the unit of the target that stands for it, if they choose each other."""
        if not source or not target:
            return [None] * len(source)
        score = self._scores(source, target)
        best = score.argmax(axis=1)
        back = score.argmax(axis=0)
        found = score[np.arange(len(source)), best] > 0
        return [
            int(there) if sure and back[there] == here else None
            for here, (there, sure) in enumerate(zip(best, found, strict=True))
        ]

    def _scores(self, source: Sequence[Unit], target: Sequence[Unit]) -> NDArray[np.float64]:
        ids = [self._encode(unit.text) or [0] for unit in target]
        flat = np.fromiter(chain.from_iterable(ids), np.int64)
        weights = self._weights[flat]
        starts = np.cumsum([0, *map(len, ids[:-1])])
        rows = np.empty((len(source), len(target)))
        for row, unit in zip(rows, source, strict=True):
            own = self._encode(unit.text)
            listed = np.concatenate([self._shortlist.translations(token) for token in own or [0]])
            hits = np.where(np.isin(flat, own), SAME, np.isin(flat, listed) * weights)
            row[:] = np.add.reduceat(hits, starts)
        rows /= np.fromiter(map(len, ids), np.int64)
        here = (np.arange(len(source)) + 0.5) / len(source)
        there = (np.arange(len(target)) + 0.5) / len(target)
        return np.asarray(rows * np.exp(-NEARNESS * np.abs(here[:, None] - there)))
