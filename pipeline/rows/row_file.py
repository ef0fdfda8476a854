"""A file of rows: CSV or JSON Lines, or one text a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import UsageError
from .cells import NoText, text_of
from .csv_rows import CsvRows, Wanted
from .dialect import Dialect, dialect_of
from .json_rows import NotAnObject, json_object
from .row import FileRow
from .text_lines import TextLines

TEXT: Final = "text"


def read_rows(path: Path, wanted: Wanted, dialect: Dialect | None = None) -> Iterator[FileRow]:
    """The rows of a file in which each row must be right. Blank lines are no rows.

    Without a ``dialect``, that of the file's name. Raises UsageError that names the line of the first mistake.
    """
    dialect = dialect or dialect_of(path)
    try:
        with path.open("rb") as file:
            lines = TextLines(file, str(path), dialect.encoding, compressed=dialect.compressed)
            for row in _rows(lines, dialect, wanted):
                for value in row.cells or row.values.values():
                    if isinstance(value, str) and (problem := lines.undecoded(value)):
                        raise lines.error(problem, row.line)
                yield row
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error


def cell_of(path: Path, row: FileRow, column: str) -> str | None:
    """The text in a column, see `cells.text_of`. Raises UsageError that names line and column."""
    try:
        return text_of(row.values.get(column))
    except NoText as error:
        raise UsageError(f"{path}, line {row.line}: {column!r} {error}: give a text or a number.") from error


def _rows(lines: TextLines, dialect: Dialect, wanted: Wanted) -> Iterator[FileRow]:
    match dialect.format:
        case "csv":
            yield from CsvRows(lines, dialect.delimiter, wanted)
        case "jsonl":
            yield from _objects(lines)
        case "txt":
            yield from (FileRow(lines.number, {TEXT: line.rstrip("\r\n")}) for line in lines if line.strip())


def _objects(lines: TextLines) -> Iterator[FileRow]:
    for line in lines:
        if not line.strip():
            continue
        if problem := lines.undecoded(line):
            raise lines.error(problem)
        try:
            yield FileRow(lines.number, json_object(line))
        except NotAnObject as error:
            raise lines.error(str(error)) from error
