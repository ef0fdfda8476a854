"""Which tokens and pairs of tokens a static tier has a row for, and texts as counts of these rows."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ....runtime.tokenizer import Tokenizer
from ....tasks.triage.static_tier import Windows

MAX_ROWS: Final = 40_000
"""With 96 numbers each 3.8 MB. MiniLM has 29 528 words, a multilingual encoder 250 000."""

MAX_PAIRS: Final = 12_000
MIN_PAIR_TEXTS: Final = 2
"""A pair in a single text says nothing about others."""


class Rows(NamedTuple):
    """The rows of a table: those of ``tokens``, then those of ``pairs``, both rising."""

    tokens: NDArray[np.int32]
    pairs: NDArray[np.int32]  # (pairs, 2)

    @property
    def total(self) -> int:
        return len(self.tokens) + len(self.pairs)


def chosen_rows(texts: Sequence[Windows], tokenizer: Tokenizer) -> Rows:
    """The pairs that are in several texts, the most frequent ones; all tokens of the texts, and of the others those
    with the lowest ids, which are the most frequent ones in all usual vocabularies, up to `MAX_ROWS` together.

    Special tokens have no row, but may be in a pair: so a text's first word is known as that.
    """
    special = tokenizer.special_ids
    seen = {token for windows in texts for window in windows for token in window} - special
    counts = Counter(pair for windows in texts for pair in {two for one in windows for two in pairwise(one)})
    frequent = sorted(
        (pair for pair, count in counts.items() if count >= MIN_PAIR_TEXTS),
        key=lambda pair: (-counts[pair], pair),
    )
    pairs = sorted(frequent[:MAX_PAIRS])
    others = (
        token for token in range(tokenizer.vocabulary_size) if token not in seen and token not in special
    )
    room = MAX_ROWS - len(pairs)
    tokens = sorted([*sorted(seen), *others][:room])
    return Rows(np.array(tokens, np.int32), np.array(pairs, np.int32).reshape(-1, 2))


def bags_of(texts: Sequence[Windows], rows: Rows) -> Any:
    """How often each row is in each text, as a sparse matrix (texts, rows), float32."""
    token_rows = {token: number for number, token in enumerate(rows.tokens.tolist())}
    first = len(token_rows)
    pair_rows = {(a, b): first + number for number, (a, b) in enumerate(rows.pairs.tolist())}
    found: list[int] = []
    ends = [0]
    for windows in texts:
        for window in windows:
            found += [token_rows[token] for token in window if token in token_rows]
            found += [pair_rows[pair] for pair in pairwise(window) if pair in pair_rows]
        ends.append(len(found))
    bags = csr_matrix((np.ones(len(found), np.float32), found, ends), (len(texts), rows.total))
    bags.sum_duplicates()
    return bags
