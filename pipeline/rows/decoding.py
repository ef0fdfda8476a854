"""Bytes of a user's file as text: UTF-8, with or without a byte order mark. Nothing else is guessed."""

import codecs
import re
from pathlib import Path
from typing import Final

from ..errors import UsageError

UTF8: Final = "utf-8"
BYTE_ORDER_MARK: Final = "\ufeff"
HEAD_BYTES: Final = 4_096
ESCAPED: Final = re.compile("[\udc80-\udcff]")
"""A byte that the encoding does not know, as the error handler ``surrogateescape`` keeps it."""

CP1252: Final = (
    "save it as UTF-8, or name its encoding (in Western Europe Excel on Windows writes cp1252: "
    "--encoding cp1252)"
)

UTF16: Final = "looks like UTF-16: save it as UTF-8, or add --encoding utf-16{order} where the command has it"
FOREIGN: Final = {
    (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE): UTF16.format(order=""),
    (b"\x1f\x8b",): "is compressed with gzip: give it a name that ends in .gz, or unpack it",
    (b"PK\x03\x04",): "is an Excel workbook or a zip archive: save the sheet as CSV UTF-8, or unpack it",
    (b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"): (
        "is compressed: unpack it, or compress it with gzip and give it a name that ends in .gz"
    ),
    (b"PAR1", b"\xd0\xcf\x11\xe0"): "is not a text file: export it as CSV UTF-8 or JSON Lines",
}
"""What files begin with that are no text, and what to say about them."""


def decoded(content: bytes, source: str) -> str:
    """The text of a whole file. Raises UsageError that names the line of the first byte that is not UTF-8."""
    if kind := foreign_kind(content):
        raise UsageError(f"{_capital(source)} {kind}.")
    try:
        return content.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{_capital(source)} is not UTF-8: line {line} has the byte 0x{content[error.start]:02X} "
            f"(offset {error.start}): save it as UTF-8."
        ) from error


def read_text(path: Path, source: str) -> str:
    """The text of the file ``path``, which errors call ``source``. Raises UsageError."""
    try:
        return decoded(path.read_bytes(), source)
    except OSError as error:
        raise UsageError(f"Cannot read {source}: {error.strerror}.") from error


def _capital(source: str) -> str:
    return source[:1].upper() + source[1:] if source.startswith("the ") else source


def foreign_kind(head: bytes) -> str | None:
    """What a file that begins with ``head`` looks like if it is not UTF-8 text, and what to do about it."""
    head = head[:HEAD_BYTES]
    for marks, sentence in FOREIGN.items():
        if head.startswith(marks):
            return sentence
    if head.count(b"\0") * 8 > len(head):
        order = "be" if head.find(b"\0") % 2 == 0 else "le"
        return UTF16.format(order=f"-{order}")
    return None
