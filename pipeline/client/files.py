"""A file of requests and the file of their replies.

Both have one line per request, in the same order. A run is resumable and needs constant memory.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

import msgspec
from msgspec import structs

from ...schemas.codec import DecodeError, decode_request, encode
from ...schemas.messages import Failure, Reply, Request
from ..errors import UsageError
from ..locks import lock_file

FileFormat = Literal["jsonl", "csv", "txt"]
FILE_FORMATS: Final[tuple[FileFormat, ...]] = ("jsonl", "csv", "txt")
BUFFER_BYTES: Final = 1 << 20
MAX_CELL_CHARACTERS: Final = 1 << 30


def format_of(path: Path) -> FileFormat:
    """The format by the suffix of the file name. Raises UsageError for any other suffix."""
    suffix = path.suffix.lower().lstrip(".").replace("ndjson", "jsonl")
    if suffix not in FILE_FORMATS:
        raise UsageError(f"The name of {path} does not show its format: add --format jsonl, csv or txt.")
    return suffix


class RequestFile:
    """The requests of an open file.

    Args:
        file: jsonl: one request object a line; csv: a header line with a column ``text`` and optionally a
            column ``id``; txt: one text a line.
        task: the task of the Failure of a line that cannot be decoded.

    Attributes:
        bytes_read: bytes of the file that were read so far.
    """

    def __init__(self, file: BinaryIO, file_format: FileFormat, task: str) -> None:
        self._file = file
        self._format = file_format
        self._task = task
        self.bytes_read = 0

    def __iter__(self) -> Iterator[Request | Failure]:
        """Each line as a Request, or as a Failure if it cannot be decoded.

        An item without an id gets the number of its line, from 1.

        Raises UsageError for a CSV file that has no column ``text`` or cannot be parsed.
        """
        items = {"jsonl": self._jsonl, "csv": self._csv, "txt": self._txt}[self._format]()
        for number, item in enumerate(items, start=1):
            yield item if item.id else structs.replace(item, id=str(number))

    def _lines(self) -> Iterator[bytes]:
        for line in self._file:
            self.bytes_read += len(line)
            yield line

    def _jsonl(self) -> Iterator[Request | Failure]:
        for line in self._lines():
            try:
                yield decode_request(line)
            except DecodeError as error:
                yield Failure(error.id or "", self._task, error.code, error.message)

    def _txt(self) -> Iterator[Request]:
        for line in self._lines():
            yield Request(text=_text(line).rstrip("\r\n"))

    def _csv(self) -> Iterator[Request]:
        csv.field_size_limit(MAX_CELL_CHARACTERS)
        rows = csv.DictReader(map(_text, self._lines()))
        try:
            if "text" not in (rows.fieldnames or ()):
                raise UsageError("The CSV file has no column `text`: name a column so in the first line.")
            for row in rows:
                yield Request(text=row["text"] or "", id=row.get("id"))
        except csv.Error as error:
            raise UsageError(f"The CSV file cannot be read at line {rows.line_num}: {error}.") from error


def _text(line: bytes) -> str:
    """The line as text.

    Bytes that are not UTF-8 become lone surrogates, so that only the request of this line fails.
    """
    return line.decode(errors="surrogateescape").removeprefix("\ufeff")


class ReplyFile:
    """The file of replies, one JSON object a line.

    Opening it keeps the complete lines of an interrupted run and cuts off an incomplete last line.

    Raises UsageError if another process is writing to the file.

    Attributes:
        lines: number of complete lines in the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+b", buffering=BUFFER_BYTES)
        try:
            lock_file(self._file)
        except BlockingIOError as error:
            self._file.close()
            raise UsageError(f"Another run is writing {path}: wait for it, or name another --out.") from error
        self.lines = 0
        self._last_line = b""
        self._recover()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def skip(self, items: Iterator[Request | Failure]) -> None:
        """Consume the items whose replies are in this file.

        Raises UsageError if the id of the last one differs: the file belongs to another input.
        """
        item = None
        for _ in range(self.lines):
            item = next(items, None)
        if self.lines and (item is None or item.id != _id_of(self._last_line)):
            raise UsageError(
                f"{self._path} does not belong to this input (line {self.lines} has another id): "
                "name another --out, or remove the file to start again."
            )

    def write(self, reply: Reply) -> None:
        self._file.write(encode(reply) + b"\n")
        self.lines += 1

    def _recover(self) -> None:
        """Count the complete lines, and cut off an incomplete last line."""
        self._file.seek(0)
        end = 0
        for line in self._file:
            if line.endswith(b"\n"):
                self.lines += 1
                self._last_line = line
                end += len(line)
        self._file.truncate(end)


class _ReplyId(msgspec.Struct):
    id: str | None = None


def _id_of(line: bytes) -> str | None:
    try:
        return msgspec.json.decode(line, type=_ReplyId).id
    except msgspec.DecodeError:
        return None
