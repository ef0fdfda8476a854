"""Rows of CSV, strictly: a file that the writer of the file did not mean so is an error that names the line."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..errors import UsageError
from .dialect import option_of
from .row import FileRow
from .text_lines import MAX_LINE_CHARACTERS, TextLines

HINT: Final = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
"""The first line by which Excel can be told the delimiter of a file."""
DELIMITER_NAMES: Final = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ",": "commas"}


class Wanted(NamedTuple):
    """Columns by the option that names them, e.g. ``{"--text": "text"}``, and columns that may be missing."""

    required: dict[str, str]
    optional: Sequence[str] = ()


class CsvRows:
    """The rows below the header line. Blank lines are no rows.

    Attributes:
        columns: the header line, once the first row was asked for.
    """

    def __init__(self, lines: TextLines, delimiter: str, wanted: Wanted) -> None:
        self.columns: list[str] = []
        self._lines = lines
        self._delimiter = delimiter
        self._wanted = wanted
        self._raw: list[str] = []  # the lines of the row that is being read

    def __iter__(self) -> Iterator[FileRow]:
        """Raises UsageError that names the line of the first mistake."""
        csv.field_size_limit(MAX_LINE_CHARACTERS)
        reader = csv.reader(self._read_lines(), delimiter=self._delimiter, strict=True)
        self.columns = self._header(reader)
        positions = {name: at for at, name in enumerate(self.columns)}
        names = [
            name for name in [*self._wanted.required.values(), *self._wanted.optional] if name in positions
        ]
        while (found := self._next(reader)) is not None:
            line, cells = found
            if not cells:
                continue
            if len(cells) != len(self.columns):
                raise self._lines.error(_ragged(len(cells), len(self.columns), self._delimiter), line)
            yield FileRow(line, {name: cells[positions[name]] for name in names}, cells)

    def _read_lines(self) -> Iterator[str]:
        for line in self._lines:
            if "\0" in line:
                raise self._lines.error("has a NUL byte: save the file as UTF-8, or name its --encoding")
            if self._lines.number == 1 and (hint := HINT.fullmatch(line)):
                if hint[1] != self._delimiter:
                    raise self._lines.error(
                        f"says that the delimiter is {hint[1]!r}: add {option_of(hint[1])}"
                    )
                continue
            self._raw.append(line)
            yield line

    def _next(self, reader: "Iterator[list[str]]") -> tuple[int, list[str]] | None:
        """(first line, cells) of the next row; None at the end."""
        self._raw.clear()
        before = self._lines.number
        try:
            cells = next(reader, None)
        except csv.Error as error:
            first = self._lines.number - len(self._raw) + 1
            raise self._lines.error(_mistake(error, first, self._lines.number), first) from error
        if cells is None:
            return None
        line = self._lines.number - len(self._raw) + 1 if self._raw else before
        if any('"' in cell for cell in cells):
            self._check_quotes(cells, line)
        return line, cells

    def _check_quotes(self, cells: list[str], line: int) -> None:
        """A cell with a quote must itself be quoted, its quotes doubled: otherwise the quote opened nothing."""
        raw = "".join(self._raw)
        for cell in cells:
            if '"' in cell and '"' + cell.replace('"', '""') + '"' not in raw:
                raise self._lines.error(
                    f"has a quote inside of the cell {_shown(cell)}: put the whole cell in quotes and double "
                    'the quote (""), or save the file as CSV again',
                    line,
                )

    def _header(self, reader: "Iterator[list[str]]") -> list[str]:
        found = self._next(reader)
        while found is not None and not found[1]:
            found = self._next(reader)
        if found is None:
            raise UsageError(f"{self._lines.source} is empty: the first line names the columns.")
        line, columns = found
        if problem := self._lines.undecoded("".join(columns)):
            raise self._lines.error(problem, line)
        for option, name in self._wanted.required.items():
            if name not in columns:
                raise UsageError(self._missing(option, name, columns))
        counts = Counter(columns)
        for name in (*self._wanted.required.values(), *self._wanted.optional):
            if counts[name] > 1:
                raise self._lines.error(
                    f"has the column {name!r} {counts[name]} times: rename all but one", line
                )
        return columns

    def _missing(self, option: str, name: str, columns: list[str]) -> str:
        source = self._lines.source
        whole = self._delimiter.join(columns)
        if len(columns) == 1:
            for other, word in DELIMITER_NAMES.items():
                if other != self._delimiter and other in whole:
                    return f"{source} looks separated by {word}: add {option_of(other)}."
        shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        return f"{source} has no column {name!r}; name the right one with {option}: {shown}."


def _ragged(cells: int, columns: int, delimiter: str) -> str:
    many = "cell" if cells == 1 else "cells"
    if cells > columns:
        word = DELIMITER_NAMES.get(delimiter, "delimiters")
        advice = f"put a text that contains {word} in quotes"
    else:
        advice = "add the missing cells, or look for a quote that is not closed in the lines before"
    return f"has {cells} {many}, and the header has {columns}: {advice}"


def _mistake(error: csv.Error, first: int, last: int) -> str:
    if "end of data" in str(error):
        return "begins a cell with a quote that is never closed: close it, or double a quote that belongs to the text"
    if "expected after" in str(error):
        if first == 1:  # the header: Excel in most of Europe separates by semicolons
            return (
                "has a quote that is closed before its cell ends: name the character between the cells by --delimiter, "
                'or double the quotes inside of a cell ("")'
            )
        to = f" (up to line {last})" if last > first else ""
        return (
            f'has a quote that is closed before its cell ends{to}: double the quotes inside of a cell (""), '
            "and look for a quote that is not closed"
        )
    if "new-line character" in str(error):
        return "has a line break inside of a cell that is not in quotes: put the whole cell in quotes"
    if "field larger" in str(error):
        return f"begins a cell of more than {MAX_LINE_CHARACTERS:,} characters: look for a quote that is not closed"
    return f"is not CSV: {error}"


def _shown(cell: str) -> str:
    line = cell.splitlines()[0]
    return repr(line if len(line) <= 30 else line[:29] + "…")
