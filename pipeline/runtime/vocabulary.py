"""How much of a text a model can read, by the vocabulary of its tokenizer."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

Reading = Literal["nothing", "little", "most"]
"""What a model can read of a text: nothing (no token at all), less than half of its letters, or most."""

MIN_PIECE_LETTERS: Final = 2
"""A word of another alphabet falls into single letters, which are in the vocabulary and mean nothing to the model."""
LETTERS_PER_TOKEN: Final = 3
"""A text with more characters for each token is in the language of the vocabulary: English has 4 to 5."""
MAX_COUNT: Final = 255


class Vocabulary:
    """The tokens of a model: ``tokens`` gives each its id.

    Args:
        special: the number of special tokens that are put around each window.
        unknown: the token for what is not in the vocabulary; None if there is no such token.
    """

    def __init__(self, tokens: Mapping[str, int], special: int, unknown: str | None) -> None:
        self._special = special
        self._unknown = tokens.get(unknown, -1) if unknown is not None else -1
        letters = bytearray(max(tokens.values(), default=-1) + 1)
        for token, number in tokens.items():
            letters[number] = min(_letters(token), MAX_COUNT)
        self._letters = bytes(letters)  # by the id of the token: the letters that the model reads by it

    def reading(self, text: str, windows: Sequence[Sequence[int]]) -> Reading:
        """What can be read of a text that was cut into these windows of token ids. Linear in its length."""
        first = windows[0]
        if len(first) <= self._special:
            return "nothing"
        tokens = sum(map(len, windows))
        unknown = any(self._unknown in window for window in windows)
        if not unknown and self._letters[first[1]] and len(text) >= LETTERS_PER_TOKEN * tokens:
            return "most"  # nearly every text: it must cost nothing
        read = sum(sum(map(self._letters.__getitem__, window)) for window in windows)
        return "most" if read and 2 * read >= sum(map(str.isalpha, text)) else "little"


def _letters(token: str) -> int:
    """The letters of a token that says something: special tokens and single letters do not, an ideograph does."""
    if token.startswith("[") and token.endswith("]"):
        return 0
    letters = sum(map(str.isalpha, token))
    return (
        letters
        if letters >= MIN_PIECE_LETTERS or any("\u2e80" <= char <= "\U0003ffff" for char in token)
        else 0
    )
