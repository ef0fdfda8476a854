"""The tokens of a generator's texts: prompts to ids, and ids to text that comes piece by piece."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from tokenizers import AddedToken
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers.decoders import ByteLevel

from ..errors import ModelError, TooLarge
from .text_stream import ByteStream, ByteTable, LibraryStream, TextStream

CHARACTERS_OF_A_TOKEN: Final = 16
"""A text with more characters for each token that is allowed is not tokenized: the library needs up to 430 bytes of
memory for each character."""


class TextTokens:
    """The tokenizer of one decoder. Several threads may call it at once."""

    def __init__(self, path: Path | str, max_tokens: int) -> None:
        """Read ``tokenizer.json``; ``max_tokens``: of a prompt. Raises ModelError."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the pipeline uses all cores already
        self._path = path
        self.max_tokens = max_tokens
        self._tokenizer = _read(path)

    def encode(self, text: str, *, with_special: bool = True, with_begin: bool | None = None) -> list[int]:
        """The ids of a prompt. Raises TooLarge for more than ``max_tokens``.

        Args:
            with_special: what looks like a special token is one, as in a text that a chat template has made. Without
                it, it is text like any other: what a stranger wrote cannot end a turn.
            with_begin: a beginning is added where the model has one. Without it, as ``with_special`` says.
        """
        if len(text) > self.max_tokens * CHARACTERS_OF_A_TOKEN:
            raise TooLarge(
                f"The text has {len(text)} characters, and a prompt may have "
                f"{self.max_tokens} tokens: send a shorter one."
            )
        ids = self._ids(text, with_special=with_special, with_begin=with_begin)
        self.check(len(ids))
        return ids

    def encode_end(self, text: str, count: int) -> list[int]:
        """The beginning that the model has, and the last ids of a text: ``count`` in all, or fewer."""
        begin = self._ids("", with_special=True, with_begin=True)
        left = count - len(begin)
        end = text[-left * CHARACTERS_OF_A_TOKEN :]
        return begin + self._ids(end, with_special=True, with_begin=False)[-left:]

    def check(self, count: int) -> None:
        """Raise TooLarge for a prompt of ``count`` tokens if they are more than ``max_tokens``."""
        if count > self.max_tokens:
            raise TooLarge(
                f"The prompt has {count} tokens, and {self.max_tokens} are allowed: send a shorter one."
            )

    def _ids(self, text: str, *, with_special: bool, with_begin: bool | None) -> list[int]:
        tokenizer = self._tokenizer if with_special else self._plain
        adding = with_special if with_begin is None else with_begin
        (encoding,) = tokenizer.encode_batch_fast([text], add_special_tokens=adding)
        ids: list[int] = encoding.ids
        return ids

    @cached_property
    def special(self) -> frozenset[str]:
        """What special tokens look like in a text."""
        added = self._tokenizer.get_added_tokens_decoder().values()
        return frozenset(token.content for token in added if token.special)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without special ones."""
        text: str = self._tokenizer.decode(tokens)
        return text

    def stream(self) -> "TextStream":
        """For one text that comes token by token."""
        if isinstance(self._tokenizer.decoder, ByteLevel):
            return ByteStream(self._table)
        return LibraryStream(self._tokenizer)

    @cached_property
    def _table(self) -> ByteTable:
        return ByteTable(self._tokenizer)

    @cached_property
    def _plain(self) -> LibraryTokenizer:
        tokenizer = _read(self._path)
        tokenizer.encode_special_tokens = True
        return tokenizer


def _read(path: Path | str) -> LibraryTokenizer:
    try:
        tokenizer = LibraryTokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"Cannot read the tokenizer {path}: {error}.") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    _match_exactly(tokenizer)
    return tokenizer


def _match_exactly(tokenizer: LibraryTokenizer) -> None:
    """A special token is what is written so, not what the normalizer makes to it.

    Else a message with full-width brackets or other letters would have one where its text has none.
    """
    exact = [
        AddedToken(
            token.content,
            special=True,
            normalized=False,
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
        )
        for token in tokenizer.get_added_tokens_decoder().values()
        if token.special and token.normalized
    ]
    if exact:
        tokenizer.add_special_tokens(exact)
