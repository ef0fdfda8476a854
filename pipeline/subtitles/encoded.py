"""A whole file as text, and back with the same encoding and byte order mark."""

import codecs
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import UsageError
from ..rows.decoding import CP1252, ESCAPED, UTF8, foreign_kind
from ..rows.dialect import checked_encoding

MAX_BYTES: Final = 1 << 25
"""Of a file. It is held in memory whole, and 100 films have fewer."""


class Encoded(NamedTuple):
    """The text of a file. ``mark`` are the bytes of its byte order mark."""

    text: str
    encoding: str = UTF8
    mark: bytes = b""

    def encode(self, text: str) -> bytes:
        """The bytes of another text in this encoding. Raises UsageError for a character that it does not have."""
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            character = text[error.start]
            line = text.count("\n", 0, error.start) + 1
            raise UsageError(
                f"The encoding {self.encoding} of the input has no {character!r}, which stands in line {line} "
                "of the translation: add --out-encoding utf-8, and run the command again to continue."
            ) from error

    def in_encoding(self, encoding: str | None) -> "Encoded":
        """The same text, to be written in another encoding, by default in this one. Raises UsageError."""
        if encoding is None:
            return self
        name = checked_encoding(encoding, "--out-encoding")
        if name == self.encoding:
            return self
        if name == "utf-16":
            return Encoded(self.text, "utf-16-le", codecs.BOM_UTF16_LE)
        return Encoded(self.text, name)


def read_encoded(path: Path, encoding: str | None = None) -> Encoded:
    """The text of the file ``path``. Raises UsageError for one that is too large, or not in this encoding."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MiB: split it.")
    return decode(content, str(path), encoding)


def decode(content: bytes, source: str, encoding: str | None = None) -> Encoded:
    """The text of a file that errors call ``source``. Raises UsageError that names the line of a wrong byte."""
    name = checked_encoding(encoding or UTF8)
    if name == UTF8 and (kind := foreign_kind(content)):
        raise UsageError(f"{source} {kind}.")
    if name != UTF8 and content.startswith(codecs.BOM_UTF8):
        raise UsageError(f"{source} begins with the byte order mark of UTF-8: leave out --encoding.")
    mark, name = _unmarked(content, name)
    try:
        text = content[len(mark) :].decode(name, "surrogateescape")
    except UnicodeError as error:
        raise UsageError(f"{source} is not {name} ({error}): name its encoding with --encoding.") from error
    if not text.isascii() and (found := ESCAPED.search(text)):
        line = text.count("\n", 0, found.start()) + 1
        advice = CP1252 if name == UTF8 else "name its encoding with --encoding"
        raise UsageError(
            f"{source}, line {line} is not {name.upper()} (byte 0x{ord(found[0]) - 0xDC00:02X}): {advice}."
        )
    return Encoded(text, name, mark)


def _unmarked(content: bytes, encoding: str) -> tuple[bytes, str]:
    """The byte order mark at the beginning, and the encoding of the rest."""
    marks = {
        UTF8: [(codecs.BOM_UTF8, UTF8)],
        "utf-16": [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")],
    }
    for mark, name in marks.get(encoding, []):
        if content.startswith(mark):
            return mark, name
    return b"", encoding
