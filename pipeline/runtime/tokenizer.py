"""Turns texts into windows of token ids. A long text becomes several overlapping windows; no token is cut off."""

import os
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer as FastTokenizer

from ..errors import ModelError, too_many_tokens
from .vocabulary import Reading, Vocabulary
from .word_pieces import WordPieces

OVERLAP_TOKENS: Final = 32

PIECE_CHARACTERS: Final = 8_192
"""A longer text is tokenized in pieces: the library needs up to 430 bytes of memory for each character."""

UNUSED: Final = re.compile(r"\[unused\d+\]")
"""Places of a vocabulary that its model was never trained on, as BERT has a thousand of them."""

CUT_CHARACTERS: Final = 1_024
"""A piece ends at the last space among this many characters; without one it ends at its last character."""


class Tokenizer:
    """The tokenizer of one model. Several threads may call it at once."""

    def __init__(self, path: Path | str, max_tokens: int, pad_id: int = 0) -> None:
        """Read ``tokenizer.json``; windows have at most ``max_tokens`` ids. Raises ModelError."""
        # The threads of the pipeline use all cores already; a pool of threads inside each call
        # would compete.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.pad_id = pad_id
        self.max_tokens = max_tokens
        try:
            self._fast = FastTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"Cannot read the tokenizer {path}: {error}.") from error
        self._fast.no_padding()
        self._vocabulary = Vocabulary(
            self._fast.get_vocab(),
            self._fast.num_special_tokens_to_add(is_pair=False),
            getattr(self._fast.model, "unk_token", None),
        )
        overlap = self._overlap = min(OVERLAP_TOKENS, max_tokens // 4)
        # The library keeps the rest of a truncated text as `overflowing` windows; `encode` returns
        # all of them.
        self._fast.enable_truncation(max_tokens, stride=overlap, strategy="longest_first")
        self._before, self._after = self._special_tokens()
        self._size = max_tokens - len(self._before) - len(self._after)
        self._words = WordPieces.of(self._fast)

    def encode(self, texts: Sequence[str], limit: int | None = None) -> list[list[Sequence[int]]]:
        """The windows of each text, as token ids with special tokens; one window if the text fits.

        Neighboring windows share up to 32 tokens. An empty text is one window of special tokens.
        Raises TooLarge for a long text whose windows have more than ``limit`` tokens, as soon as it
        has found more: the rest, up to 0.4 s of a core for a megabyte, is not tokenized.
        """
        windows: list[list[Sequence[int]]] = [self._plain(text) for text in texts]
        left = [number for number, found in enumerate(windows) if not found]
        short = [number for number in left if len(texts[number]) <= PIECE_CHARACTERS]
        encodings = self._fast.encode_batch_fast([texts[number] for number in short]) if short else ()
        for number, first in zip(short, encodings, strict=True):
            windows[number] = [first.ids, *(rest.ids for rest in first.overflowing)]
        for number in left:
            if not windows[number]:
                windows[number] = self._windows(self._ids(texts[number], limit))
        return windows

    def reading(self, text: str, windows: Sequence[Sequence[int]]) -> Reading:
        """How much of ``text``, which `encode` has cut into ``windows``, the model can read."""
        return self._vocabulary.reading(text, windows)

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest token id."""
        return max(self._fast.get_vocab().values(), default=-1) + 1

    @property
    def special_ids(self) -> set[int]:
        """The ids of tokens that stand for no text: those around a window, padding, the unknown one, a mask."""
        added = self._fast.get_added_tokens_decoder()
        unused = (number for token, number in self._fast.get_vocab().items() if UNUSED.fullmatch(token))
        return {number for number, token in added.items() if token.special}.union(unused)

    def window(self, ids: Sequence[int]) -> Sequence[int]:
        """These ids with the special tokens around them."""
        return self._before + array("i", ids) + self._after

    def _plain(self, text: str) -> list[Sequence[int]]:
        """The window of a text that needs neither the library nor a second window; else none."""
        ids = self._words.ids(text) if self._words and len(text) <= PIECE_CHARACTERS else None
        if ids is None or len(ids) > self._size:
            return []
        return [[*self._before, *ids, *self._after]]

    def _ids(self, text: str, limit: int | None) -> "array[int]":
        """All token ids of a long text, without special tokens, 4 bytes each. Raises TooLarge."""
        ids = array("i")
        for piece in _pieces(text):
            (first,) = self._fast.encode_batch_fast([piece], add_special_tokens=False)
            ids.extend(first.ids)
            for rest in first.overflowing:
                ids.extend(rest.ids[self._overlap :])
            if limit is not None and self._tokens_in_windows(len(ids)) > limit:
                raise too_many_tokens(limit)
        return ids

    def _windows(self, ids: "array[int]") -> list[Sequence[int]]:
        """The windows that the library would make of these ids."""
        return [self._before + ids[at : at + self._size] + self._after for at in self._starts(len(ids))]

    def _starts(self, ids: int) -> range:
        """Where the windows of this number of ids begin."""
        return range(0, max(1, ids - self._overlap), self._size - self._overlap)

    def _tokens_in_windows(self, ids: int) -> int:
        """The tokens in all windows of this number of ids, special ones and overlaps included."""
        windows = len(self._starts(ids))
        return ids + (windows - 1) * self._overlap + windows * (len(self._before) + len(self._after))

    def _special_tokens(self) -> "tuple[array[int], array[int]]":
        """The ids before and after the tokens of a text."""
        (bare,) = self._fast.encode_batch_fast(["a"], add_special_tokens=False)
        (whole,) = self._fast.encode_batch_fast(["a"])
        before = next(n for n in range(len(whole.ids)) if whole.ids[n : n + len(bare.ids)] == bare.ids)
        return array("i", whole.ids[:before]), array("i", whole.ids[before + len(bare.ids) :])


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces that end at a space if there is one: no word is cut then."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = start + PIECE_CHARACTERS
        cut = next((at for at in range(end, end - CUT_CHARACTERS, -1) if text[at].isspace()), end)
        yield text[start:cut]
        start = cut
    yield text[start:]
