"""Texts to windows of token ids. Nothing is ever cut off: a long text becomes several overlapping windows."""

import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from ..errors import ModelError

OVERLAP_TOKENS = 32


class Tokenizer:
    """The tokenizer of one model. Safe to call from several threads, which run in parallel."""

    def __init__(self, path: Path | str, max_tokens: int, pad_id: int = 0) -> None:
        """Read ``tokenizer.json``; windows have at most ``max_tokens`` ids. Raises ModelError."""
        # Our own threads fill the cores: a second pool of threads below each call would only make them wait.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self.pad_id = pad_id
        self.max_tokens = max_tokens
        try:
            self._fast = FastTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"Cannot read the tokenizer {path}: {error}.") from error
        self._fast.no_padding()
        overlap = min(OVERLAP_TOKENS, max_tokens // 4)
        # The library's "truncation" keeps what it cuts as overflowing windows; all of them are used below.
        self._fast.enable_truncation(max_tokens, stride=overlap, strategy="longest_first")

    def encode(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """For each text its windows of token ids, special tokens included; one window where the text fits.

        Neighboring windows share up to 32 tokens. An empty text is one window of special tokens.
        """
        encodings = self._fast.encode_batch_fast(list(texts))
        return [[first.ids, *(more.ids for more in first.overflowing)] for first in encodings]
