"""An encoder: one vector a row, in one step."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from .graph import Feeds, Graph
from .model import RUN, Row


class Encoder:
    """The `Model` of a graph that turns token ids into one vector for each row."""

    phases: Sequence[str] = (RUN,)

    def __init__(self, graph: Graph, pad_id: int = 0) -> None:
        self.graph = graph
        self._pad_id = pad_id

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """For each row its vector, float32 (dimensions)."""
        vectors = self.graph.run(collate([row.tokens for row in rows], self._pad_id))[0]
        return list(vectors)

    def drop(self, rows: Sequence[Row]) -> None:
        """Nothing stays on the device."""


def collate(rows: Sequence[Sequence[int]], pad_id: int) -> Feeds:
    """``input_ids`` and ``attention_mask``, int64, of shape (rows, length of the longest row)."""
    if len(rows) == 1:
        alone = np.array([rows[0]], np.int64)
        return {"input_ids": alone, "attention_mask": np.ones_like(alone)}
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    longest = int(lengths.max())
    real = np.arange(longest) < lengths[:, None]
    ids = np.full((len(rows), longest), pad_id, np.int64)
    ids[real] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return {"input_ids": ids, "attention_mask": real.astype(np.int64)}
