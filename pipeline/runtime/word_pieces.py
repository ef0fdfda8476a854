"""The pieces of the words that were met before: plain texts are cut into tokens in a sixth of the library's time."""

import json
import re
from collections.abc import Mapping
from itertools import chain, islice
from typing import Any, Final, Self

from tokenizers import Tokenizer as FastTokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer

CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What the library removes, while Python splits at some of them."""

MAX_CHARACTERS: Final = 32
"""A text with a longer new word is left to the library: the words in memory stay small."""

NEW_WORDS: Final = 32
"""The most words that are learned of one text, 5 µs each. A text of more new ones is left to the library, which does
not hold up other threads meanwhile."""

KEPT_WORDS: Final = 8_192
"""At most 4 MB. When they are full, they are learned anew."""


class WordPieces:
    """What a BERT tokenizer makes of ASCII texts. Several threads may call it at once."""

    def __init__(self, fast: FastTokenizer, settings: Mapping[str, Any]) -> None:
        """``settings``: those in tokenizer.json, for which `splits_at_spaces` is true."""
        self._fast = fast
        self._known: dict[str, tuple[int, ...]] = {}
        self._lowercase = settings["normalizer"]["lowercase"]
        added = [re.escape(token["content"]) for token in settings["added_tokens"]]
        self._added = re.compile("|".join(added) or r"(?!)")

    @classmethod
    def of(cls, fast: FastTokenizer) -> Self | None:
        """For this tokenizer; None if it is of another kind."""
        if not isinstance(fast.pre_tokenizer, BertPreTokenizer):
            return None  # at once: to write and read the settings of 250 000 tokens takes 0.1 s
        settings = json.loads(fast.to_str())
        return cls(fast, settings) if splits_at_spaces(settings) else None

    def ids(self, text: str) -> list[int] | None:
        """The ids of the whole text without special tokens; None if it is left to the library."""
        if not text.isascii() or self._added.search(text):
            return None
        if not text.isprintable() and CONTROLS.search(text):
            return None
        words = (text.lower() if self._lowercase else text).split()
        found = list(map(self._known.get, words))
        if None in found:
            new = dict.fromkeys(word for word, pieces in zip(words, found, strict=True) if pieces is None)
            if max(map(len, new)) > MAX_CHARACTERS:
                return None
            learned = {word: self._pieces(word) for word in islice(new, NEW_WORDS)}
            self._keep(learned)
            if len(new) > NEW_WORDS:
                return None
            found = [
                learned[word] if pieces is None else pieces for word, pieces in zip(words, found, strict=True)
            ]
        return list(chain.from_iterable(pieces for pieces in found if pieces))

    def _pieces(self, word: str) -> tuple[int, ...]:
        """The library's ids of what stands between two spaces."""
        parts = self._fast.pre_tokenizer.pre_tokenize_str(self._fast.normalizer.normalize_str(word))
        return tuple(token.id for part, _ in parts for token in self._fast.model.tokenize(part))

    def _keep(self, learned: Mapping[str, tuple[int, ...]]) -> None:
        if len(self._known) + len(learned) > KEPT_WORDS:
            self._known.clear()
        self._known.update(learned)


def splits_at_spaces(settings: Mapping[str, Any]) -> bool:
    """Whether a tokenizer with these settings gives an ASCII text the pieces of its words, one after the other."""
    normalizer = settings["normalizer"] or {}
    return (
        (settings["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and normalizer.get("type") == "BertNormalizer"
        and normalizer["clean_text"]
        and not any(token["normalized"] for token in settings["added_tokens"])
    )
