"""How long the outputs of a model are, by the lengths of their inputs: learned on this device while it runs."""

import math
from collections.abc import Sequence
from typing import Final

PRIOR: Final = 1.1
"""Output tokens for one input token before any was seen: a translation is about as long as its source."""

KNOTS: Final = 12
"""One for each power of two of the input length, up to 2^11."""

WEIGHT: Final = 0.02
"""Weight of one new output in the ratio of its knots. Of one length, ratios vary by a tenth to a third."""

MAX_RATIO: Final = 4.0
"""Bound of one output's ratio: one that does not end must not dominate."""


class OutputLengths:
    """The ratio of output to input tokens, piecewise linear in the logarithm of the input length.

    A short input has a higher ratio: an output has an end, too. Several threads read and update it; an update
    may be lost, which averages out.
    """

    def __init__(self, ratios: Sequence[float] | None = None) -> None:
        """``ratios``: those that another process has learned."""
        self.ratios = list(ratios or [PRIOR] * KNOTS)
        self._seen = [1 / WEIGHT if ratios else 1.0] * KNOTS

    def expected(self, length: int, given: int) -> int:
        """How many tokens a step will generate, the end included; at least 1.

        Args:
            length: of the input.
            given: how many tokens of the output are known already.
        """
        return max(1, round(self.ratio(length) * length) - given)

    def ratio(self, length: float) -> float:
        """The expected ratio at this length."""
        low, share = _knot(length)
        return self.ratios[low] * (1 - share) + self.ratios[low + 1] * share

    def observe(self, length: int, made: int, *, mean: bool = False) -> None:
        """Move the ratio of this input length towards that of an output that was generated as a whole.

        ``mean``: the prior says little, so the first outputs count as their mean.
        """
        low, share = _knot(length)
        ratio = min(max(made, 0) / max(length, 1), MAX_RATIO)
        for knot, weight in ((low, 1 - share), (low + 1, share)):
            self._seen[knot] += weight
            of_one = max(WEIGHT, 1 / self._seen[knot]) if mean else WEIGHT
            self.ratios[knot] += of_one * weight * (ratio - self.ratios[knot])


def _knot(length: float) -> tuple[int, float]:
    """The knot below a length, and its distance from there to the next knot, 0 to 1."""
    position = min(math.log2(max(length, 1)), KNOTS - 1.001)
    low = int(position)
    return low, position - low
