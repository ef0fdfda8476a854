"""A file of requests: one for each line of JSON Lines or text, one for each row of CSV."""

from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import msgspec
from msgspec import structs

from ...schemas.codec import DecodeError, decode_request
from ...schemas.messages import Failure, Request
from ...schemas.wrappings import example_of
from ..errors import NotJson, NotUtf8, UsageError
from ..rows.csv_rows import CsvRows, Wanted
from ..rows.dialect import Dialect
from ..rows.json_rows import NotAnObject, json_object
from ..rows.row_file import TEXT
from ..rows.text_lines import TextLines
from ..tasks.catalogue import contract_of

ID: Final = "id"


class RequestFile:
    """The requests of an open file.

    Args:
        source: what errors call the file.
        columns: (column of the text, column of the id). A file without the latter gives numbers as ids.
        task: the task of the Failure of a line that cannot be decoded.

    Attributes:
        header: the columns of a CSV file, once the first item was asked for.
        keeps_cells: whether ``cells`` is filled; false at first.
        cells: the cells of the rows of CSV that were read and not taken out yet, the oldest first.
    """

    def __init__(
        self, file: BinaryIO, source: str, dialect: Dialect, task: str, columns: tuple[str, str] = (TEXT, ID)
    ) -> None:
        self._dialect = dialect
        self._task = task
        contract = contract_of(task)
        self._kind = contract.request if contract else Request
        if contract and not contract.is_text and dialect.format != "jsonl":
            raise UsageError(
                f"A request to {task!r} is more than a text: give a file of JSON Lines, with "
                f"{example_of(self._kind)} in each line."
            )
        self._text, self._id = columns
        self._lines = TextLines(file, source, dialect.encoding, compressed=dialect.compressed)
        self.header: list[str] = []
        self.keeps_cells = False
        self.cells: deque[list[str]] = deque()

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that were read so far."""
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Request | Failure]:
        """Each line or row as a Request, or as a Failure if it cannot be decoded.

        An item without an id gets its number, from 1.

        Raises UsageError that names the line of a CSV file which is not strictly CSV.
        """
        items = {"jsonl": self._jsonl, "csv": self._csv, "txt": self._txt}[self._dialect.format]()
        for number, item in enumerate(items, start=1):
            yield item if item.id else structs.replace(item, id=str(number))

    def _jsonl(self) -> Iterator[Request | Failure]:
        for line in self._lines:
            if problem := self._lines.undecoded(line):
                yield self._failure(None, NotUtf8.code, f"The line {problem}.")
                continue
            try:
                yield decode_request(self._body(line), self._kind)
            except DecodeError as error:
                yield self._failure(error.id, error.code, error.message)
            except NotAnObject as error:  # a key that stands twice: to the decoder the last one counts
                yield self._failure(None, NotJson.code, f"The line {error}.")

    def _body(self, line: str) -> bytes:
        """The body of the request in ``line``. Raises NotAnObject for what only this reader refuses."""
        content = line.encode(errors="surrogateescape")
        try:
            values = json_object(line)
        except NotAnObject:
            try:
                decode_request(content, self._kind)
            except DecodeError:
                return content  # its own sentence says more
            raise
        return _renamed(values, self._text, self._id) or content

    def _txt(self) -> Iterator[Request | Failure]:
        for line in self._lines:
            text = line.rstrip("\r\n")
            problem = self._lines.undecoded(text)
            yield self._failure(None, NotUtf8.code, f"The line {problem}.") if problem else Request(text=text)

    def _csv(self) -> Iterator[Request | Failure]:
        rows = CsvRows(self._lines, self._dialect.delimiter, Wanted({"--text": self._text}, [self._id]))
        for row in rows:
            self.header = rows.columns
            if self.keeps_cells and row.cells is not None:
                self.cells.append(row.cells)
            row_id = row.values.get(self._id, "").strip() or None
            text = row.values[self._text]
            if problem := self._lines.undecoded(text + (row_id or "")):
                yield self._failure(None, NotUtf8.code, f"Line {row.line} {problem}.")
            else:
                yield Request(text=text, id=row_id)

    def _failure(self, row_id: str | None, code: str, message: str) -> Failure:
        return Failure(row_id or "", self._task, code, message)


def _renamed(values: dict[str, Any], text: str, row_id: str) -> bytes | None:
    """The body with the fields ``text`` and ``id`` under their own names; None if it is right as it stands.

    A whole number is a good id in a file, e.g. as pandas writes it; on the wire ids are strings.
    """
    number = values.get(row_id)
    whole = isinstance(number, int) and not isinstance(number, bool)
    if text == TEXT and row_id == ID and not whole:
        return None
    body = dict(values) if text == TEXT else {}  # another name for the text: the other fields are not ours
    if text in values:
        body[TEXT] = values[text]
    if number is not None:
        body[ID] = str(number) if whole else number
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, msgspec.MsgspecError, OverflowError):
        return None
