"""The signs that a model knows; it reads those of typesetters as the signs of a keyboard."""

import re
import unicodedata
from collections.abc import Collection
from typing import Final

KEYBOARD: Final = {
    "\u201c": '"',
    "\u201d": '"',
    "\u201e": '"',
    "\u00ab": '"',
    "\u00bb": '"',
    "\u2018": "'",
    "\u2019": "'",
    "\u201a": "'",
    "\u00b4": "'",
    "\u2013": "-",
    "\u2014": " - ",
    "\u2011": "-",
    "\u2212": "-",
    "\u2026": "...",
    "\u00bf": "",
    "\u00a1": "",
    "\u00ad": "",
}
"""Most of these are no tokens of the models: they were read as unknown, and left out or made dashes."""

WORD: Final = re.compile(r"\w+")


class KnownSigns:
    """The characters that a model knows, as they are or in the form that its tokenizer gives them (NFKC)."""

    def __init__(self, characters: Collection[str]) -> None:
        self._known = frozenset(characters)
        self._table = str.maketrans({sign: KEYBOARD[sign] for sign in KEYBOARD if sign not in self._known})
        self._capitals = frozenset(one.upper() for one in self._known if len(one.upper()) == 1) - self._known

    def is_known(self, char: str) -> bool:
        """Whether the model knows it; spaces are known."""
        if char in self._known or char in self._capitals or ord(char) in self._table or char.isspace():
            return True
        if char.isdigit() and not char.isdecimal():
            return False  # as a raised one: the model reads 10\u2076 as 106
        return not char.isascii() and all(
            one in self._known or one.isspace() for one in unicodedata.normalize("NFKC", char)
        )

    def readable(self, text: str) -> str:
        """The text with the signs of a keyboard where the model does not know those of a typesetter.

        A vocabulary may have à and not À: a word with such a letter is written in small ones.
        """
        if text.isascii():
            return text
        text = text.translate(self._table)
        return text if self._capitals.isdisjoint(text) else WORD.sub(self._small, text)

    def _small(self, word: "re.Match[str]") -> str:
        return word[0] if self._capitals.isdisjoint(word[0]) else word[0].lower()
