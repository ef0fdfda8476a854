"""A cue: words and when they are shown; in a plain text, a line."""

import re
from typing import Final, NamedTuple

from .lines import Span

TIMES: Final = re.compile(
    r"[ \t]*(\d{1,5}:)?(\d{1,2}):(\d{1,2})[,.:](\d{1,3})"
    r"[ \t]*-->[ \t]*(\d{1,5}:)?(\d{1,2}):(\d{1,2})[,.:](\d{1,3})(?:[ \t].*)?"
)
"""The line of times, as tolerant as players: SubRip's comma or WebVTT's point, with hours or without."""


class Cue(NamedTuple):
    """The place of a cue's words in its file, and its times if it has some."""

    place: Span
    begin_ms: int | None = None
    end_ms: int | None = None


def times_in(line: str) -> tuple[int, int] | None:
    """Begin and end in milliseconds, if the line has them."""
    if not (found := TIMES.fullmatch(line)):
        return None
    parts = found.groups()
    return _milliseconds(*parts[:4]), _milliseconds(*parts[4:])


def _milliseconds(hours: str | None, minutes: str, seconds: str, rest: str) -> int:
    whole = int((hours or "0:")[:-1]) * 3600 + int(minutes) * 60 + int(seconds)
    return whole * 1000 + int(rest.ljust(3, "0"))


def cue_of(text: str, lines: list[Span], times: tuple[int, int] | None = None) -> Cue:
    """The cue whose words are these lines, without the blank ones around them."""
    words = [line for line in lines if text[line.start : line.end].strip()]
    if not words:
        return Cue(Span(0, 0, lines[0].number if lines else 0), *(times or ()))
    return Cue(Span(words[0].start, words[-1].end, words[0].number), *(times or ()))
