"""The text of one generation, as its tokens come. No character is split."""

from codecs import getincrementaldecoder
from typing import Final, Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class TextStream(Protocol):
    """The text of one generation, as its tokens come. No character is split."""

    @property
    def waits(self) -> bool:
        """Whether a character is not complete."""
        ...

    def add(self, token: int) -> str:
        """What can be shown now: nothing while a character is not complete."""
        ...

    def finish(self) -> str:
        """What is left at the end: a replacement character for one that was not completed."""
        ...


def _bytes_by_character() -> dict[str, int]:
    """The characters that stand for bytes (Radford et al. 2019, GPT-2): those that show stand for themselves, and the
    others, in order, have the numbers from 256 on.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


MOST_OF_A_CHARACTER: Final = 16
"""Tokens without any text after which the text goes on: the library would decode all of them again for each one
more, and never stop where a character is never completed. No character has more than 4 bytes.
"""
BYTES: Final = _bytes_by_character()


class ByteTable:
    """What each token of a tokenizer of bytes adds to a text. Several threads may call it at once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._known = {number: b"" for number, token in added.items() if token.special}

    def bytes_of(self, token: int) -> bytes:
        """As the library decodes it: a token with any other character is text. A special one has none."""
        known = self._known.get(token)
        if known is None:
            text = self._tokenizer.id_to_token(token) or ""
            try:
                known = bytes([BYTES[character] for character in text])
            except KeyError:
                known = text.encode()
            self._known[token] = known
        return known


class ByteStream:
    """Of tokens that are bytes of UTF-8: each takes time by its own length, whatever the bytes are."""

    def __init__(self, table: ByteTable) -> None:
        self._table = table
        self._decoder = getincrementaldecoder("utf-8")("replace")

    @property
    def waits(self) -> bool:
        """See `TextStream`."""
        return bool(self._decoder.getstate()[0])

    def add(self, token: int) -> str:
        """See `TextStream`."""
        return self._decoder.decode(self._table.bytes_of(token))

    def finish(self) -> str:
        """See `TextStream`."""
        return self._decoder.decode(b"", final=True)


class LibraryStream:
    """Of other tokens, by the library."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._begin()

    def _begin(self) -> None:
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held: list[int] = []

    @property
    def waits(self) -> bool:
        """See `TextStream`."""
        return bool(self._held)

    def add(self, token: int) -> str:
        """See `TextStream`."""
        self._held.append(token)
        if len(self._held) > MOST_OF_A_CHARACTER:
            return self.finish()
        try:
            text: str | None = self._stream.step(self._tokenizer, token)
        except Exception:  # the library's only class: what is decoded now does not begin as it did before
            return self.finish()
        if text:
            self._held.clear()
        return text or ""

    def finish(self) -> str:
        """See `TextStream`."""
        text: str = self._tokenizer.decode(self._held)
        self._begin()
        return text
