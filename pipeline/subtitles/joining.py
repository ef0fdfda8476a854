"""Joins what belongs to one sentence, so that it is translated as one."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .cue import Cue
from .part import BRACKETS, DASH, MUSIC, TAG, CuePart

ENDED: Final = re.compile(r"[.!?…:。！？][\"'”’»)\]]*$")
MAX_CHARACTERS: Final = 600
MAX_PARTS: Final = 6
"""The most that is joined: subtitles written by speech recognition have no full stops."""
MAX_GAP_MS: Final = 1_500
WRAPPED: Final = 40
"""A line of a plain text that is as long was broken by its width, so its sentence may go on in the next line."""


class Placed(NamedTuple):
    """A part and its cue; whether the cue has no other part."""

    part: CuePart
    cue: Cue
    alone: bool


def placed(cue: Cue, parts: list[CuePart]) -> list[Placed]:
    return [Placed(part, cue, len(parts) == 1) for part in parts]


def joined(parts: Iterable[Placed]) -> Iterator[list[CuePart]]:
    """Parts that are translated together, in the order of the file."""
    group: list[Placed] = []
    for one in parts:
        if group and not (_fits(group, one) and _goes_on(group[-1], one)):
            yield [other.part for other in group]
            group = []
        group.append(one)
    if group:
        yield [other.part for other in group]


def _fits(group: list[Placed], one: Placed) -> bool:
    characters = sum(len(other.part.text) for other in group)
    return len(group) < MAX_PARTS and characters + len(one.part.text) <= MAX_CHARACTERS


def _goes_on(one: Placed, after: Placed) -> bool:
    """Whether a sentence may go on from one part to the next."""
    if not (one.alone and after.alone and _is_speech(one.part) and _is_speech(after.part)):
        return False
    if one.part.marks != after.part.marks or one.part.text.isupper() != after.part.text.isupper():
        return False
    return not ENDED.search(one.part.text) and _follows(one, after)


def _is_speech(part: CuePart) -> bool:
    """Not one of several speakers, a song, a sound in brackets, or words with tags inside, which a cut could tear."""
    marks = TAG.sub("", "".join(part.marks))
    return not (set(marks) & (MUSIC | BRACKETS.keys()) or DASH.search(marks) or TAG.search(part.text))


def _follows(one: Placed, after: Placed) -> bool:
    """Whether nothing lies between them: no time, in a plain text no blank line and no end of a paragraph."""
    if one.cue.end_ms is None or after.cue.begin_ms is None:
        next_line = one.part.place.number + one.part.lines
        return after.part.place.number == next_line and len(one.part.text) >= WRAPPED
    return 0 <= after.cue.begin_ms - one.cue.end_ms <= MAX_GAP_MS
