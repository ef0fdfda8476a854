"""Splits the translation of texts that were joined, so that each place gets its share."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

SPACE: Final = re.compile(r"[ \t\r\n\f\v]+")
GAP: Final = re.compile(r"(?P<space>[ \t\r\n\f\v]+)|<(?P<closing>/?)[^\s<>][^<>]*>")
SENTENCES: Final = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)")
CLAUSES: Final = re.compile(r"[.!?…。！？,;:，、；：]+[\"'”’»)\]]*(?=\s|$)")
DASH_ALONE: Final = re.compile(r" [-–—]+(?= |$)")
"""Breaks off what stands before it, and stays there."""
NO_SPACES: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Scripts that write no spaces between words: of Thailand, Burma, Cambodia, Japan and China."""
NEAR: Final = 6
"""Gaps between words that are looked at on each side of the place that is wanted."""
CLAUSE_BONUS: Final = 8
"""Characters by which a gap behind a comma or a full stop may be farther away; fewer in a short text."""


def split(translation: str, sources: Sequence[str], *, at_clauses: bool = True) -> list[str]:
    """``translation``, of the texts ``sources`` joined by spaces, in as many texts; none of them is empty.

    A text that ends with a sentence gets a translation that does, if both sides have equally many sentences (or
    clauses). Otherwise lengths decide; with ``at_clauses`` the end of a clause nearby goes before the exact length.
    With fewer words than texts, each text gets the whole translation. A translation that changes nothing leaves each
    text as it is.
    """
    translation = SPACE.sub(" ", translation).strip(" ")
    unchanged = [SPACE.sub(" ", source).strip(" ") for source in sources]
    if translation == " ".join(unchanged):
        return unchanged
    bonus = min(CLAUSE_BONUS, len(translation) // 7) if at_clauses else 0
    shares = _cut(translation, _wanted(translation, sources), bonus)
    return shares or [translation] * len(sources)


def wrap(text: str, lines: int) -> list[str]:
    """``text`` in ``lines`` lines of about equal length; in one, if it has fewer words."""
    text = SPACE.sub(" ", text).strip(" ")
    return _cut(text, [len(text) * number // lines for number in range(1, lines)], 0) or [text]


def _cut(text: str, wanted: Sequence[int], bonus: int) -> list[str] | None:
    """``text``, cut between words near each of the places ``wanted``. None if it has too few words."""
    gaps = _gaps(text, len(wanted))
    if len(gaps) < len(wanted):
        return None
    clauses = [found.end() for found in CLAUSES.finditer(text)] if bonus else []
    behind = {end for end in clauses if not DASH_ALONE.match(text, end)}
    cuts = [0]
    first = 0
    for number, place in enumerate(wanted, start=1):
        last = len(gaps) - (len(wanted) - number)  # each cut behind this one needs a gap
        near = bisect_left(gaps, place, first, last)
        choices = range(max(first, near - NEAR), min(last, near + NEAR + 1))
        best = min(choices, key=lambda one: abs(gaps[one] - place) - bonus * (gaps[one] in behind))
        cuts.append(gaps[best])
        first = best + 1
    cuts.append(len(text))
    return [text[begin:end].strip(" ") for begin, end in pairwise(cuts)]


def _gaps(text: str, needed: int) -> list[int]:
    """Where words end: before the tags that open in front of a space, and not inside a tag.

    In a script without spaces, each character may be a word.
    """
    gaps = []
    opens, opened = 0, -1  # where the last tags that open begin and end
    for found in GAP.finditer(text):
        if found["space"]:
            gaps.append(opens if opened == found.start() else found.start())
        elif not found["closing"]:
            opens = opens if opened == found.start() else found.start()
            opened = found.end()
    if len(gaps) < needed:  # "<Hello >" need not be a tag
        gaps = [found.start() for found in SPACE.finditer(text)]
    if len(gaps) < needed and NO_SPACES.search(text):
        return list(range(1, len(text)))
    return gaps


def _wanted(translation: str, sources: Sequence[str]) -> list[int]:
    """Where each text but the last one ends, carried over from the joined sources to the translation."""
    joined = " ".join(sources)
    ends = [0]
    for source in sources[:-1]:
        ends.append(ends[-1] + len(source) + 1)
    places = [end - 1 for end in ends[1:]]
    for marks in (CLAUSES, SENTENCES):
        here = [found.end() for found in marks.finditer(joined)]
        there = [found.end() for found in marks.finditer(translation)]
        if here and len(here) == len(there):
            break
    else:
        here, there = [], []
    return _carried(places, [0, *here, len(joined)], [0, *there, len(translation)])


def _carried(places: Sequence[int], here: Sequence[int], there: Sequence[int]) -> list[int]:
    """Places of one text in another, between the anchors that both have."""
    carried = []
    for place in places:
        at = min(max(bisect_left(here, place), 1), len(here) - 1)
        low, high = here[at - 1], here[at]
        share = (place - low) / max(high - low, 1)
        carried.append(round(there[at - 1] + share * (there[at] - there[at - 1])))
    return carried
