"""Replies as CSV: the cells of the request's row, and beside them those of its answer."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, get_origin

import msgspec
from msgspec import Struct

from ...schemas.messages import Failure, Request, Result
from ..errors import UsageError
from ..rows.decoding import BYTE_ORDER_MARK
from .replies import output_of
from .request_file import RequestFile
from .resumable_file import ResumableFile

WHOLE_OUTPUT: Final = "output"
TEXT: Final = "text"
"""Where an output has it, it is the answer in one cell: of a generated text, that of the first choice."""
FAILURE_FIELDS: Final = ("error", "message")


class ReplyTable(ResumableFile):
    """A CSV file in UTF-8 with a byte order mark, so that Excel reads it as what it is.

    Its columns are those of the input, and for each simple field of the task's output one that begins with the
    name of the task; ``TASK_error`` and ``TASK_message`` are filled for failures. A line
    of it is a row.
    """

    def __init__(self, path: Path, requests: RequestFile, task: str, delimiter: str) -> None:
        self._requests = requests
        requests.keeps_cells = True
        self._fields = _fields(task)
        self._added = [f"{task}_{name}" for name in (*self._fields, *FAILURE_FIELDS)]
        self._delimiter = delimiter
        self._header: list[str] = []
        self._last_row: list[str] = []
        self._torn = b""
        super().__init__(path)

    def _check(self, items: Iterator[Request | Failure]) -> None:
        cells: list[str] = []
        for _ in range(self.lines):
            next(items, None)
            cells = self._requests.cells.popleft() if self._requests.cells else []
        end = -len(self._added)
        wrong = self.lines and _encodable(cells) != self._last_row[:end]
        if wrong or (self._header and self._header[end:] != self._added):
            raise self._of_another_input("row", "differs")
        if not self._header and not BYTE_ORDER_MARK.encode().startswith(self._torn):
            raise UsageError(f"{self.path} holds something else than answers: name another --out.")

    def _encoded(self, reply: Result | Failure) -> bytes:
        start = b"" if self._header else self._start()
        cells = _encodable(self._requests.cells.popleft())
        return start + self._line(cells + self._answer(reply))

    def _start(self) -> bytes:
        """The line of the columns. Raises UsageError if the input has one of the answer's."""
        columns = self._requests.header
        if taken := sorted(set(columns) & set(self._added)):
            raise UsageError(
                f"The input has a column {taken[0]!r} already: rename it, or it would be there twice."
            )
        self._header = columns + self._added
        return BYTE_ORDER_MARK.encode() + self._line(self._header)

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

    def _recover(self, lines: BinaryIO) -> None:
        """See the base.

        All quotes in the file are our own, so a row ends at the end of a line with an even number of them so far.
        """
        quotes = 0
        row: list[bytes] = []
        for line in lines:
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
    """The fields of the task's output that fit into a cell; lists that an output may lack are left out.

    Raises UsageError for one that has a list in any case, unless it has its text beside it: without it the answer
    would be lost.
    """
    kind = output_of(task)
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return [WHOLE_OUTPUT]
    fields = msgspec.structs.fields(kind)
    lists = [field for field in fields if get_origin(field.type) is list]
    needed = [field.name for field in lists if field.required]
    if needed and all(field.name != TEXT for field in fields):
        raise UsageError(
            f"The field {needed[0]!r} of an answer to {task!r} is a list, and a table has no cell for it: write "
            "JSON Lines, with a name such as answers.jsonl for --out."
        )
    return [field.name for field in fields if field not in lists]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)


def _encodable(cells: list[str]) -> list[str]:
    """Bytes that the input's encoding does not know become question marks."""
    return [cell if cell.isascii() else cell.encode(errors="replace").decode() for cell in cells]
