"""The lines of a text as places in it, so that a file is changed in place."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import UsageError

LINE: Final = re.compile(r"([^\r\n]*)(\r\n|\n|\r|\Z)")


class Span(NamedTuple):
    """A place in a text; ``number`` is that of its first line, from 1."""

    start: int
    end: int
    number: int


def lines_of(text: str) -> list[Span]:
    """The lines of ``text`` without their ends: LF, CR LF or CR."""
    return list(_lines(text))


def _lines(text: str) -> Iterator[Span]:
    number = 1
    for found in LINE.finditer(text):
        if found.start() == len(text):
            return
        yield Span(found.start(), found.end(1), number)
        number += 1


class NotReadable(UsageError):
    """A file that is not of its format; the sentence names the line."""

    def __init__(self, source: str, number: int, problem: str) -> None:
        super().__init__(f"{source}, line {number} {problem}.")
