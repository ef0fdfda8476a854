"""Texts in capitals: the model reads them in small letters, and its translation is written in capitals again.

Models that have seen few of them leave half of such a text as it is, and invent words.
"""

from typing import Final

FEWEST_LETTERS: Final = 4
"""Shorter ones are names rather than texts: USA, IBM."""

ENDS: Final = "!?."


def is_in_capitals(text: str) -> bool:
    """Whether it is in capitals: several words, or one with the sign that ends a sentence. A name alone is not."""
    if not text.isupper() or sum(map(str.isalpha, text)) < FEWEST_LETTERS:
        return False
    return len(text.split(None, 2)) > 1 or text.rstrip()[-1] in ENDS


def in_small_letters(text: str) -> str:
    """``text`` in small letters, with a capital at its beginning: models translate it better with one."""
    small = text.lower()
    first = next((at for at, char in enumerate(small) if char.isalpha()), 0)
    return small[:first] + small[first : first + 1].upper() + small[first + 1 :]


def in_capitals(text: str) -> str:
    """``text`` in capitals. Each character stays one: places in it stay true."""
    return "".join(upper if len(upper := char.upper()) == 1 else char for char in text)
