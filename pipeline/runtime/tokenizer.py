"""Turns texts into windows of token ids. A long text becomes several overlapping windows; no token is cut off."""

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from ..errors import ModelError
from .vocabulary import Reading, Vocabulary

OVERLAP_TOKENS = 32


class Tokenizer:
    """The tokenizer of one model. Several threads may call it at once; their calls run in parallel."""

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
        overlap = min(OVERLAP_TOKENS, max_tokens // 4)
        # The library keeps the rest of a truncated text as `overflowing` windows; `encode` returns
        # all of them.
        self._fast.enable_truncation(max_tokens, stride=overlap, strategy="longest_first")

    def encode(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The windows of each text, as token ids with special tokens; one window if the text fits.

        Neighboring windows share up to 32 tokens. An empty text is one window of special tokens.
        """
        encodings = self._fast.encode_batch_fast(list(texts))
        return [[first.ids, *(rest.ids for rest in first.overflowing)] for first in encodings]

    def reading(self, text: str, windows: Sequence[Sequence[int]]) -> Reading:
        """How much of ``text``, which `encode` has cut into ``windows``, the model can read."""
        return self._vocabulary.reading(text, windows)
