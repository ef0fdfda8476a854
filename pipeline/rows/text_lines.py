"""The lines of an open file as text, with their numbers, in memory for one line."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from ..errors import UsageError
from .decoding import BYTE_ORDER_MARK, CP1252, ESCAPED, HEAD_BYTES, UTF8, foreign_kind

MAX_LINE_CHARACTERS: Final = 1 << 24
"""A longer line is no row of a request: brokers take a megabyte. It bounds the memory for a file without lines."""


class TextLines:
    """The lines, each with its end: LF or CR LF; CR in a file that has no LF at its beginning (Excel on old Macs).

    A byte that the encoding does not know becomes a lone surrogate, so that the reader can name its line.

    Attributes:
        number: the number of the line that was read last, from 1.
        bytes_read: bytes of the file that were read so far, before it is unpacked.
    """

    def __init__(
        self, file: BinaryIO, source: str, encoding: str = UTF8, *, compressed: bool = False
    ) -> None:
        self.source = source
        self.number = 0
        self._encoding = encoding
        self._compressed = compressed
        self._raw = _Counted(file)

    @property
    def bytes_read(self) -> int:
        return self._raw.count

    def __iter__(self) -> Iterator[str]:
        """Raises UsageError for a file that is no text, a damaged archive, or a line that is too long."""
        try:
            text = self._text()
            while line := text.readline(MAX_LINE_CHARACTERS):
                self.number += 1
                if len(line) == MAX_LINE_CHARACTERS and not line.endswith(("\n", "\r")):
                    raise self.error(f"is longer than {MAX_LINE_CHARACTERS:,} characters")
                yield line.removeprefix(BYTE_ORDER_MARK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(
                f"{self.source} is damaged after line {self.number}: compress it again."
            ) from error
        except UnicodeError as error:  # utf-16 without a byte order mark, for example
            raise UsageError(
                f"{self.source} is not {self._encoding} after line {self.number} ({error})."
            ) from error

    def error(self, problem: str, line: int | None = None) -> UsageError:
        """A UsageError that names the line, by default the last one."""
        return UsageError(f"{self.source}, line {self.number if line is None else line} {problem}.")

    def undecoded(self, text: str) -> str | None:
        """What is wrong with a text that has bytes which the encoding does not know; None if there are none."""
        if text.isascii() or not (found := ESCAPED.search(text)):
            return None
        byte = ord(found[0]) - 0xDC00
        advice = CP1252 if self._encoding == UTF8 else "name its encoding with --encoding"
        return (
            f"is not {self._encoding.upper()} (byte 0x{byte:02X} after {found.start()} characters): {advice}"
        )

    def _text(self) -> io.TextIOWrapper:
        buffer: io.BufferedReader = io.BufferedReader(self._raw)
        if self._compressed:
            buffer = io.BufferedReader(gzip.GzipFile(fileobj=buffer))
        head = buffer.peek(HEAD_BYTES)[:HEAD_BYTES]
        if self._encoding == UTF8 and (kind := foreign_kind(head)):
            raise UsageError(f"{self.source} {kind}.")
        if self._encoding != UTF8 and head.startswith(codecs.BOM_UTF8):
            raise UsageError(f"{self.source} begins with the byte order mark of UTF-8: leave out --encoding.")
        end = "\r" if b"\r" in head and b"\n" not in head else "\n"
        return io.TextIOWrapper(buffer, self._encoding, "surrogateescape", newline=end)


class _Counted(io.RawIOBase):
    """The bytes of a file, counted. A read returns what is there, so that a pipe is answered line by line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(content)] = content
        self.count += len(content)
        return len(content)
