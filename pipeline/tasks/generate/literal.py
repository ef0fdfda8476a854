"""Keeps what looks like a special token in a message what it is: text. Else a message could end its turn."""

import re
from collections.abc import Sequence
from typing import Final

from ...runtime.text_tokens import TextTokens

PRIVATE: Final = range(0x100000, 0x10FFFE)
"""Characters that Unicode leaves to programs: one that no message has marks what was taken out."""


class Literals:
    """Takes the special tokens out of messages before a template sees them, and puts their text back behind it."""

    def __init__(self, tokens: TextTokens) -> None:
        self._tokens = tokens
        self._special = sorted(tokens.special, key=len, reverse=True)
        self._numbers = {text: number for number, text in enumerate(self._special)}
        self._pattern = re.compile("|".join(map(re.escape, self._special)) or r"(?!)")

    def marked(self, contents: Sequence[str]) -> tuple[Sequence[str], str]:
        """The contents with marks in place of special tokens, and the character of marks; "" for none."""
        if not any(map(self._pattern.search, contents)):
            return contents, ""
        used = set().union(*contents)
        mark = next(chr(code) for code in PRIVATE if chr(code) not in used)
        return [
            self._pattern.sub(lambda found: f"{mark}{self._numbers[found[0]]}{mark}", content)
            for content in contents
        ], mark

    def tokens(self, text: str, mark: str) -> list[int]:
        """The ids of what a template has made. Raises TooLarge."""
        if not mark:
            return self._tokens.encode(text, with_begin=False)
        ids: list[int] = []
        for index, part in enumerate(re.split(f"{mark}(\\d+){mark}", text)):
            special = index % 2 == 0
            part = part if special else self._special[int(part)]
            ids += self._tokens.encode(part, with_special=special, with_begin=False)
            self._tokens.check(len(ids))
        return ids
