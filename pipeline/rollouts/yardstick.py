"""What batches of each shape cost, learned from one version, to measure both by."""

import math
from typing import Final

PER_DOUBLING: Final = 4
"""Buckets of a length for each power of two: neighbors differ by 19 %."""

EXACT_ROWS: Final = 8
"""Up to this number of rows each number is a bucket of its own; above it, each power of two has four."""

LEAST: Final = 8
"""Batches of a shape before it measures."""

MEMORY: Final = 0.02
"""Weight of a new batch once 50 are known: costs follow what else the machine does."""


class Yardstick:
    """Costs by shape; no shape says anything of another one.

    A cost model that has learned from large batches is wrong by half for single rows, and a candidate with a small
    share has many of these. So only shapes count that the other version has run too, as it does for what is compared.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[int, float]] = {}

    def learn(self, rows: int, length: int, ms: float) -> None:
        """Learn from a batch."""
        shape = _shape(rows, length)
        number, mean = self._known.get(shape, (0, 0.0))
        number += 1
        self._known[shape] = (number, mean + max(1 / number, MEMORY) * (math.log(max(ms, 1e-6)) - mean))

    def times(self, rows: int, length: int, ms: float) -> float | None:
        """The cost of a batch in times of what its shape costs; None if that is not known."""
        number, mean = self._known.get(_shape(rows, length), (0, 0.0))
        return None if number < LEAST else ms / math.exp(mean)


def _shape(rows: int, length: int) -> tuple[int, int]:
    of_rows = rows if rows <= EXACT_ROWS else EXACT_ROWS + _bucket(rows)
    return of_rows, _bucket(length)


def _bucket(value: int) -> int:
    return math.floor(math.log2(max(value, 1)) * PER_DOUBLING)
