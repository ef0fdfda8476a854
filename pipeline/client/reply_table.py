"""Replies as CSV: the cells of the request's row, and beside them those of its answer."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self, get_origin

import msgspec
from msgspec import Struct

from ...schemas.messages import Failure, Request, Result
from ..errors import UsageError
from ..rows.decoding import BYTE_ORDER_MARK
from .replies import output_of
from .reply_file import open_alone
from .request_file import RequestFile

WHOLE_OUTPUT: Final = "output"
FAILURE_FIELDS: Final = ("error", "message")


class ReplyTable:
    """A CSV file in UTF-8 with a byte order mark, so that Excel reads it as what it is.

    Its columns are those of the input, and for each simple field of the task's output one that begins with the
    name of the task; ``TASK_error`` and ``TASK_message`` are filled for failures. It is resumable as
    `ReplyFile` is, and has the same attributes.
    """

    def __init__(self, path: Path, requests: RequestFile, task: str, delimiter: str) -> None:
        self.path = path
        self._requests = requests
        requests.keeps_cells = True
        self._fields = _fields(task)
        self._added = [f"{task}_{name}" for name in (*self._fields, *FAILURE_FIELDS)]
        self._delimiter = delimiter
        self._file = open_alone(path)
        self.lines = 0
        self.failures = 0
        self._header: list[str] = []
        self._last_row: list[str] = []
        self._end = 0
        self._torn = b""
        self._recover()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def skip(self, items: Iterator[Request | Failure]) -> None:
        """Consume the items whose replies are in this file.

        Raises UsageError if the last row differs from that of the input: the file belongs to another input.
        """
        cells: list[str] = []
        for _ in range(self.lines):
            next(items, None)
            cells = self._requests.cells.popleft() if self._requests.cells else []
        end = -len(self._added)
        wrong = self.lines and _encodable(cells) != self._last_row[:end]
        if wrong or (self._header and self._header[end:] != self._added):
            raise UsageError(
                f"{self.path} does not belong to this input (row {self.lines} differs): "
                "name another --out, or remove the file to start again."
            )
        if not self._header and not BYTE_ORDER_MARK.encode().startswith(self._torn):
            raise UsageError(f"{self.path} holds something else than answers: name another --out.")
        self._file.truncate(self._end)

    def write(self, reply: Result | Failure) -> None:
        if not self._header:
            self._start()
        cells = _encodable(self._requests.cells.popleft())
        self._file.write(self._line(cells + self._answer(reply)))
        self.lines += 1
        self.failures += isinstance(reply, Failure)

    def _start(self) -> None:
        columns = self._requests.header
        if taken := sorted(set(columns) & set(self._added)):
            raise UsageError(
                f"The input has a column {taken[0]!r} already: rename it, or it would be there twice."
            )
        self._header = columns + self._added
        self._file.write(BYTE_ORDER_MARK.encode() + self._line(self._header))

    def _answer(self, reply: Result | Failure) -> list[str]:
        if isinstance(reply, Failure):
            return [""] * len(self._fields) + [reply.code, reply.message]
        output = msgspec.json.decode(reply.output)
        if not isinstance(output, dict) or self._fields == [WHOLE_OUTPUT]:
            output = {WHOLE_OUTPUT: bytes(reply.output).decode()}
        return [_cell(output.get(name)) for name in self._fields] + [""] * len(FAILURE_FIELDS)

    def _line(self, cells: list[str]) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter).writerow(cells)
        return line.getvalue().encode()

    def _recover(self) -> None:
        """Count the complete rows, and remember where an incomplete last one begins.

        All quotes in the file are our own, so a row ends at the end of a line with an even number of them so far.
        """
        self._file.seek(0)
        quotes = 0
        row: list[bytes] = []
        for line in self._file:
            row.append(line)
            quotes += line.count(b'"')
            if quotes % 2 or not line.endswith(b"\n"):
                continue
            whole = b"".join(row)
            self._end += len(whole)
            self._recovered(whole.decode("utf-8-sig", "replace"))
            row = []
        self._torn = b"".join(row)[:3]

    def _recovered(self, row: str) -> None:
        cells = next(csv.reader(io.StringIO(row, newline=""), delimiter=self._delimiter), [])
        if not self._header:
            self._header = cells
            return
        self.lines += 1
        self.failures += bool(cells[-len(FAILURE_FIELDS) :][0]) if cells else 0
        self._last_row = cells


def _fields(task: str) -> list[str]:
    """The fields of the task's output that fit into a cell."""
    kind = output_of(task)
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return [WHOLE_OUTPUT]
    return [field.name for field in msgspec.structs.fields(kind) if get_origin(field.type) is not list]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _encodable(cells: list[str]) -> list[str]:
    """Bytes that the input's encoding does not know become question marks."""
    return [cell if cell.isascii() else cell.encode(errors="replace").decode() for cell in cells]
