"""The parts of a cue that are translated: what a speaker says, without the marks around it.

Marks stay where they are in the file: tags, {\\an8}, the dash of a speaker, notes of music, brackets.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from .cue import Cue
from .lines import Span, lines_of

TAG: Final = re.compile(r"<[^<>]*>")
NAME: Final = re.compile(r"</?\s*([^\s<>./]*)")
NO_TAG: Final = r"\s+|\{\\[^{}]*\}|[♪♫♩♬]+|[-–—‐]+(?=[^\d\s]|\s)|[*•](?=\s)"
BEFORE: Final = re.compile(rf"{NO_TAG}|<[^<>]*>")
BEFORE_TAGS: Final = re.compile(rf"{NO_TAG}|<v[ .][^<>]*>")
"""What may stand before the words; where tags belong to the words, only the name of a speaker."""
MUSIC: Final = frozenset("♪♫♩♬")
DASH: Final = re.compile(r"[-–—‐]")
BRACKETS: Final = {"[": "]", "(": ")"}
SPEAKER: Final = re.compile(r"([^\W\d_][^:]{0,29}):\s")
"""The name of a speaker before the words: MAN: Who is it? It is one in capitals alone."""


class CuePart(NamedTuple):
    """Words that are translated, and the place in the file where they stand.

    Attributes:
        place: without the marks around the words.
        text: the words on one line.
        lines: how many lines they have in the file.
        line_break: what stands between two of them.
        marks: what stands before and after the words.
    """

    place: Span
    text: str
    lines: int
    line_break: str
    marks: tuple[str, str]


def parts_of(text: str, cue: Cue) -> list[CuePart]:
    """The parts of a cue with words: one for each speaker, for each line of a song, and for a sound in brackets."""
    start = cue.place.start
    lines = [
        Span(start + line.start, start + line.end, cue.place.number + line.number - 1)
        for line in lines_of(text[start : cue.place.end])
    ]
    parts = [_part(text, group) for group in _groups(text, lines)]
    return [part for part in parts if any(map(str.isalpha, part.text))]


def _groups(text: str, lines: Sequence[Span]) -> Iterator[list[Span]]:
    """Lines that are one part.

    A line of a song, or in brackets, is alone; a dash, the name of a speaker and a blank line begin a new part.
    """
    group: list[Span] = []
    for line in lines:
        words = _before(text, line, BEFORE)
        alone = not MUSIC.isdisjoint(text[line.start : line.end]) or _is_sound(text[words : line.end])
        begins = DASH.search(TAG.sub("", text[line.start : words])) or _names_speaker(text, words, line.end)
        blank = words == line.end
        if group and (alone or blank or begins):
            yield group
            group = []
        if not blank:
            group.append(line)
        if alone and group:
            yield group
            group = []
    if group:
        yield group


def _is_sound(words: str) -> bool:
    """Whether a line is in brackets: [DOOR SLAMS]."""
    words = TAG.sub("", words).strip()
    return len(words) > 1 and _in_brackets(words, 0, len(words)) != (0, len(words))


def _names_speaker(text: str, start: int, end: int) -> bool:
    found = SPEAKER.match(text, start, end)
    return found is not None and found[1].isupper()


def _part(text: str, lines: Sequence[Span]) -> CuePart:
    """Tags around the words are marks. If others are left inside, all are words: a pair must not be torn."""
    part = _with_marks(text, lines, BEFORE)
    return _with_marks(text, lines, BEFORE_TAGS) if TAG.search(part.text) else part


def _with_marks(text: str, lines: Sequence[Span], before: re.Pattern[str]) -> CuePart:
    tags = before is BEFORE
    begins = [_before(text, line, before) for line in lines]
    ends = [_after(text, line, begin, tags=tags) for line, begin in zip(lines, begins, strict=True)]
    breaks = {text[end:begin] for end, begin in zip(ends, begins[1:], strict=False)}
    if len(breaks) > 1 or not all(map(_is_closed, breaks)):
        begins = [begins[0], *(line.start for line in lines[1:])]
        ends = [*(line.end for line in lines[:-1]), ends[-1]]
        breaks = {text[ends[0] : begins[1]]}
    start, end = _in_brackets(text, begins[0], ends[-1]) if len(lines) == 1 else (begins[0], ends[-1])
    begins[0], ends[-1] = start, end
    words = (text[one:other].strip() for one, other in zip(begins, ends, strict=True))
    return CuePart(
        Span(start, end, lines[0].number),
        " ".join(words),
        len(lines),
        next(iter(breaks), "\n"),
        (text[lines[0].start : start].strip(), text[end : lines[-1].end].strip()),
    )


def _is_closed(line_break: str) -> bool:
    """Whether the tags that end before a line break begin again behind it, in the reverse order."""
    names = [NAME.match(tag) for tag in TAG.findall(line_break)]
    closed = [found[1] for found in names if found and found[0].startswith("</")]
    opened = [found[1] for found in names if found and not found[0].startswith("</")]
    return closed == opened[::-1]


def _before(text: str, line: Span, marks: re.Pattern[str]) -> int:
    """Where the words of a line begin."""
    at = line.start
    while at < line.end and (found := marks.match(text, at, line.end)):
        at = found.end()
    return at


def _after(text: str, line: Span, begin: int, *, tags: bool) -> int:
    """Where the words of a line end."""
    at = line.end
    while at > begin:
        last = text[at - 1]
        if last.isspace() or last in MUSIC:
            at -= 1
        elif tags and last == ">" and (opened := _tag_before(text, begin, at)) is not None:
            at = opened
        else:
            break
    return at


def _tag_before(text: str, begin: int, end: int) -> int | None:
    """Where the tag that ends at ``end`` begins."""
    opened = text.rfind("<", begin, end)
    return opened if opened >= 0 and TAG.fullmatch(text, opened, end) else None


def _in_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """The words inside of brackets that stand around all of them."""
    around = end - start > 2 and BRACKETS.get(text[start]) == text[end - 1]
    if around and not set("[]()") & set(text[start + 1 : end - 1]):
        return start + 1, end - 1
    return start, end
