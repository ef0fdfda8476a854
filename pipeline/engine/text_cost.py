"""What a text will cost the device, estimated from its length before it is tokenized."""

import math
from collections.abc import Sequence
from typing import Final

from .batching import ShapeCost

WEIGHT: Final = 0.05
"""Weight of the newest text in the tokens of a character."""

SPECIAL_TOKENS: Final = 2


class TextCost:
    """Learns how many tokens a character makes, and how long a row may be. One writer, any reader."""

    def __init__(self, cost: ShapeCost) -> None:
        self._cost = cost
        self._tokens_of_a_character = 0.25
        self._max_length = 256

    def rows(self, characters: int, known: int | None = None) -> tuple[float, int]:
        """The expected milliseconds of one row, and the number of rows; ``known``: if that does not depend on the
        text.
        """
        tokens = math.ceil(characters * self._tokens_of_a_character) + SPECIAL_TOKENS
        rows = math.ceil(tokens / self._max_length) if known is None else known
        return self._cost.ms(1, min(tokens, self._max_length)), rows

    def observe(self, characters: int, lengths: Sequence[int]) -> None:
        """Learn from a text that was tokenized: the lengths of its rows."""
        if len(lengths) > 1:
            self._max_length = max(lengths)
        ratio = sum(lengths) / max(1, characters)
        self._tokens_of_a_character += WEIGHT * (min(ratio, 4.0) - self._tokens_of_a_character)
