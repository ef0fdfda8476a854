"""Splits a text into paragraphs and a paragraph into sentences. Nothing is lost: what is split joins to the text."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final

import sentencex

WINDOW: Final = 2_000
"""Characters that the library gets at once: its time is quadratic in sentences that end in other signs than ASCII.

With 2 000 characters a megabyte of the worst kind takes 1 s; as one text it takes minutes.
"""

LONGEST: Final = 20_000
"""Characters of a paragraph. A longer one is cut behind a word."""

WORDS: Final = 3
"""A line with fewer words is an item of a list rather than the beginning of a wrapped sentence."""

LONG_LINE: Final = 30

ENDS: Final = ".!?…:;"
MARKS: Final = re.compile(r"\s*(?:<[^<>\n]*>|\{[^{}\n]*\})*\s*")
CLAUSE: Final = re.compile(r"[,;:)\u2014\u2013]\s+")
SPACES: Final = re.compile(r"\s+")


def paragraphs(text: str) -> Iterator[str]:
    """The lines of ``text``, each with its end and the blank lines behind it. Wrapped lines stay together.

    Translated line by line, sentences that are wrapped at 40 columns lose 13 BLEU.
    """
    held: list[str] = []
    length = 0
    for line, width in _with_widths(text.splitlines(keepends=True)):
        if held and (length > LONGEST or not (line.isspace() or _goes_on(held[-1], line, width))):
            yield from _cut("".join(held))
            held.clear()
            length = 0
        held.append(line)
        length += len(line)
    yield from _cut("".join(held))


def _with_widths(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Each line, and the length of the longest one between the same two blank lines."""
    for _, block in groupby(lines, key=str.isspace):
        together = list(block)
        width = max(map(len, together))
        yield from ((line, width) for line in together)


def _cut(paragraph: str) -> Iterator[str]:
    start = 0
    while len(paragraph) - start > LONGEST:
        end = paragraph.rfind(" ", start, start + LONGEST) + 1 or start + LONGEST
        yield paragraph[start:end]
        start = end
    if start < len(paragraph):
        yield paragraph[start:]


def _goes_on(line: str, following: str, width: int) -> bool:
    """Whether a sentence goes on: the line has no sign that ends it, and the next one begins with a small letter.

    It may also begin with another letter or digit, if its first word had no room in a line that is long.
    """
    written = line.rstrip()
    if not written or written[-1] in ENDS or len(written.split(None, WORDS)) < WORDS:
        return False
    begin = MARKS.match(following)
    first = following[begin.end() if begin else 0 :].split(None, 1)[:1]
    if not first:
        return False
    word = first[0]
    has_room = len(written) + 1 + len(word) <= width
    return word[0].islower() or (
        len(written) >= LONG_LINE and not has_room and word.lstrip("\"'(\u201c")[:1].isalnum()
    )


def sentence_ends(paragraph: str, language: str) -> Iterator[int]:
    """Where the sentences of ``paragraph`` end, spaces behind them included; the last one at its end.

    A sentence of more than 2 000 characters is cut behind a clause or a word.
    """
    plain = re.sub(r"\s", " ", paragraph)  # the library drops some line breaks
    start = 0
    while start < len(plain):
        window = plain[start : start + WINDOW]
        ends = _ends(window, language)
        if start + WINDOW < len(plain):  # the last one may go on behind the window
            ends = ends[:-1] or [cut_of(window)]
        for end in ends:
            yield start + end
        start += ends[-1]


def _ends(window: str, language: str) -> list[int]:
    ends: list[int] = []
    for sentence in sentencex.segment(language, window):
        ends.append((ends[-1] if ends else 0) + len(sentence))
    return ends if ends and ends[-1] == len(window) else [len(window)]


def cut_of(text: str) -> int:
    """Where a text that is too long is best cut: behind a clause near its middle, or a word; else at its end."""
    middle = len(text) // 2
    for pattern in (CLAUSE, SPACES):
        found = min((one.end() for one in pattern.finditer(text)), key=lambda at: abs(at - middle), default=0)
        if 0 < found < len(text):
            return found
    return len(text)
