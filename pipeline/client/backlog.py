"""A file of texts in, a file of replies out: one line each, in order, resumable, in constant memory."""

import csv
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

import msgspec
from msgspec import structs

from ...schemas.codec import DecodeError, decode_request, encode
from ...schemas.messages import Failure, Reply, Request
from ..errors import UsageError

Format = Literal["jsonl", "csv", "txt"]
FORMATS: Final[tuple[Format, ...]] = ("jsonl", "csv", "txt")
CHUNK_BYTES: Final = 1 << 20
LONGEST_CELL: Final = 1 << 30


def format_of(path: Path) -> Format:
    """The format that the name of a file tells. Raises UsageError."""
    suffix = path.suffix.lower().lstrip(".").replace("ndjson", "jsonl")
    if suffix not in FORMATS:
        raise UsageError(f"The name of {path} does not tell its format: add --format jsonl, csv or txt.")
    return suffix


class Source:
    """The requests of an open file; ``bytes_read`` tells how far it got.

    Args:
        file: jsonl: a request object a line; csv: a header line with a column ``text``, maybe one ``id``;
            txt: a text a line.
        task: the task that stands in the Failure of a line that is no request.
    """

    def __init__(self, file: BinaryIO, kind: Format, task: str) -> None:
        self._file, self._kind, self._task = file, kind, task
        self.bytes_read = 0

    def __iter__(self) -> Iterator[Request | Failure]:
        """Each line as a Request, or as the Failure that says what is wrong with it; one without an id gets its number.

        Raises UsageError for a CSV file without the column or with a row that cannot be read.
        """
        items = {"jsonl": self._jsonl, "csv": self._csv, "txt": self._txt}[self._kind]()
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
        csv.field_size_limit(LONGEST_CELL)
        rows = csv.DictReader(map(_text, self._lines()))
        try:
            if "text" not in (rows.fieldnames or ()):
                raise UsageError("The CSV file has no column `text`: name one so in its first line.")
            for row in rows:
                yield Request(text=row["text"] or "", id=row.get("id"))
        except csv.Error as error:
            raise UsageError(f"The CSV file cannot be read at line {rows.line_num}: {error}.") from error


def _text(line: bytes) -> str:
    """Bytes that are not UTF-8 stay in it as what no request can hold, so that this one line fails."""
    return line.decode(errors="surrogateescape").removeprefix("\ufeff")


class Sink:
    """The file of replies. What a killed run left is kept up to its last complete line, and tells where to go on.

    Raises UsageError when another run is writing to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+b", buffering=CHUNK_BYTES)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UsageError(f"Another run is writing {path}: wait for it, or name another --out.") from error
        self.lines, self._last = self._recover()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def skip(self, items: Iterator[Request | Failure]) -> None:
        """Pass over the items that are answered here. Raises UsageError when they are not those of this file."""
        item = None
        for _ in range(self.lines):
            item = next(items, None)
        if self.lines and (item is None or item.id != _id_of(self._last)):
            raise UsageError(
                f"{self._path} does not belong to this input (its line {self.lines} is another): name another --out, "
                "or remove it to begin anew."
            )

    def write(self, reply: Reply) -> None:
        self._file.write(encode(reply) + b"\n")
        self.lines += 1

    def _recover(self) -> tuple[int, bytes]:
        """Cut off a torn last line; how many lines there are, and the last of them."""
        self._file.seek(0)
        lines, end, last = 0, 0, b""
        for line in self._file:
            if line.endswith(b"\n"):
                lines, end, last = lines + 1, end + len(line), line
        self._file.truncate(end)
        return lines, last


class Identity(msgspec.Struct):
    id: str | None = None


def _id_of(line: bytes) -> str | None:
    try:
        return msgspec.json.decode(line, type=Identity).id
    except msgspec.DecodeError:
        return None
