"""Texts as words: what is compared, counted and held back."""

import re
from collections.abc import Sequence
from typing import Final

WORD: Final = re.compile(r"\s*\S+")


def words_of(text: str) -> list[str]:
    """The words of ``text``, each with the space before it: joined they are the text without the space at its end."""
    return WORD.findall(text)


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two texts have in common from their start."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
