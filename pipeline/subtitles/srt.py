"""The cues of a SubRip file (.srt), which has no standard: what players read is read here."""

import re
from typing import Final

from .cue import Cue, cue_of, times_in
from .lines import NotReadable, Span, lines_of

EXAMPLE: Final = "00:00:01,000 --> 00:00:02,500"
NUMBER: Final = re.compile(r"\s*\d+\s*")
BROKEN_TIMES: Final = re.compile(r"\s*[\dOolI]{1,3}\s*:\s*[\dOolI]{1,2}\s*:.*[-=–—]\s*>|.*-->")
"""Lines that are meant to be times, and are not."""


def srt_cues(text: str, source: str) -> list[Cue]:
    """The cues in the order of the file. Raises NotReadable at a line of times that cannot be read.

    The number of a cue may be missing, and its words may have blank lines between them.
    """
    lines = lines_of(text)
    read = [times_in(text[line.start : line.end]) for line in lines]
    times = [index for index, found in enumerate(read) if found]
    begins = [_begin(text, lines, index) for index in times]
    _check_before(text, lines[: begins[0] if begins else len(lines)], source)
    cues = []
    for index, end in zip(times, [*begins[1:], len(lines)], strict=False):
        words = lines[index + 1 : end]
        _check(text, words, source)
        cues.append(cue_of(text, words, read[index]))
    return cues


def _begin(text: str, lines: list[Span], times: int) -> int:
    """The index of the line that a cue begins with: its number, if it has one, or its times."""
    before = lines[times - 1] if times else None
    return times - 1 if before and NUMBER.fullmatch(text[before.start : before.end]) else times


def _check_before(text: str, lines: list[Span], source: str) -> None:
    for line in lines:
        words = text[line.start : line.end]
        if words.startswith("WEBVTT"):
            raise NotReadable(source, line.number, "begins WebVTT: name the file .vtt, or add --format vtt")
        if words.strip() and not (NUMBER.fullmatch(words) and line is not lines[-1]):
            raise NotReadable(
                source, line.number, f"is no cue, which has a number, a line such as {EXAMPLE}, and words"
            )


def _check(text: str, words: list[Span], source: str) -> None:
    for line in words:
        if BROKEN_TIMES.match(text, line.start, line.end):
            raise NotReadable(source, line.number, f"has times that cannot be read: write them as {EXAMPLE}")
    after_blank = False
    for line, after in zip(words, [*words[1:], None], strict=True):
        content = text[line.start : line.end]
        if after_blank and after and NUMBER.fullmatch(content) and text[after.start : after.end].strip():
            raise NotReadable(
                source, after.number, f"must be the times of the cue {content.strip()}, such as {EXAMPLE}"
            )
        after_blank = not content.strip()
