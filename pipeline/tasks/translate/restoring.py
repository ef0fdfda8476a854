"""Puts back into a translation what the model did not get: words that are kept, markup, line breaks."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from .alignment import Aligner, units_of
from .capitals import in_capitals
from .items import ItemKind
from .sentence import InlineMark, Sentence, placeholders

REACH: Final = 3
"""How many words away a word with a known place may be."""

CLOSERS: Final = ".,;:!?)]\"'\u2026"
LATER: Final = {ItemKind.CLOSE: 0, ItemKind.POINT: 1, ItemKind.SPACE: 2, ItemKind.WORD: 2, ItemKind.OPEN: 3}
"""What comes first of several at one place."""


class Edit(NamedTuple):
    """``text`` takes the place of what is from ``start`` to ``end`` of a translation."""

    start: int
    end: int
    kind: ItemKind
    order: int
    text: str


class WordPlaces:
    """Where the places of a source are in its translation."""

    def __init__(self, source: str, target: str, aligner: Aligner) -> None:
        self.target = target
        self._source_units = units_of(source)
        self._units = units_of(target)
        self._starts = [unit.start for unit in self._source_units]
        self._links = aligner.links(self._source_units, self._units)

    def unit_at(self, at: int) -> int:
        """The number of the first unit of the source that begins at ``at`` or behind it."""
        return bisect_left(self._starts, at)

    def before(self, number: int) -> int:
        """Where the unit begins in the translation, or the best guess."""
        for distance in range(REACH):
            if (unit := self._linked(number + distance)) is not None:
                return self._start(unit - distance)
            if (unit := self._linked(number - 1 - distance)) is not None:
                return self._start(unit + 1 + distance)
        return self._start(round(number / max(1, len(self._links)) * len(self._units)))

    def behind(self, number: int) -> int:
        """Where the unit ends in the translation, or the best guess."""
        for distance in range(REACH):
            if (unit := self._linked(number - distance)) is not None:
                return self._end(unit + distance)
            if (unit := self._linked(number + 1 + distance)) is not None:
                return self._end(unit - 1 - distance)
        return self._end(round((number + 1) / max(1, len(self._links)) * len(self._units)) - 1)

    def span(self, first: int, last: int) -> tuple[int, int] | None:
        """From where to where the units from ``first`` to before ``last`` are; None if they are apart."""
        found = [unit for number in range(first, last) if (unit := self._linked(number)) is not None]
        if not found or max(found) - min(found) >= 2 * (last - first) + 1:
            return None
        return self._units[min(found)].start, self._units[max(found)].end

    def _linked(self, number: int) -> int | None:
        return self._links[number] if 0 <= number < len(self._links) else None

    def _start(self, unit: int) -> int:
        return self._units[max(0, unit)].start if unit < len(self._units) else len(self.target)

    def _end(self, unit: int) -> int:
        return self._units[min(unit, len(self._units) - 1)].end if self._units and unit >= 0 else 0


def restored(sentence: Sentence, target: str, aligner: Aligner, shown: int = 0) -> str:
    """The translation ``target`` with all words and marks of the sentence.

    Without the first ``shown`` characters, which stay as they are.
    """
    if sentence.lost_capital and not shown:
        target = target[:1].upper() + target[1:]
    pattern = placeholders(sentence) if sentence.words else None
    there = {int(found[2]) for found in pattern.finditer(target)} if pattern else set()
    lost = [number for number in range(1, len(sentence.words) + 1) if number not in there]
    written = in_capitals(target) if sentence.all_capitals else target
    if sentence.marks or lost:
        places = WordPlaces(sentence.source, target, aligner)
        edits = _of_marks(sentence.marks, places)
        edits += [_of_word(sentence, number, places) for number in lost]
        target = _edited(written, edits, shown)
    else:
        target = written
    target = target[shown:]
    if pattern is None:
        return target
    return pattern.sub(lambda found: _word(sentence, found), target)


def _word(sentence: Sentence, found: "re.Match[str]") -> str:
    number = int(found[2])
    if not 0 < number <= len(sentence.words):
        return found[0]
    before, behind = sentence.glued[number - 1]
    return f"{'' if before else found[1]}{sentence.words[number - 1]}{'' if behind else found[3]}"


def _of_word(sentence: Sentence, number: int, places: WordPlaces) -> Edit:
    """A word whose placeholder is not in the translation, behind the word that was before it."""
    unit = places.unit_at(sentence.source.index(f"{sentence.sign}-{number}"))
    name = f"{sentence.sign}-{number}"
    at = places.behind(unit - 1) if unit else 0
    return Edit(at, at, ItemKind.WORD, number, f" {name} ".removeprefix(" " * (not at)))


def _of_marks(marks: Sequence[InlineMark], places: WordPlaces) -> list[Edit]:
    pairs = _pairs(marks)
    edits: list[Edit] = []
    taken = -1
    ends: dict[int, int] = {}
    for order, mark in enumerate(marks):
        unit = places.unit_at(mark.at)
        if mark.kind is ItemKind.SPACE:
            edit = _space(mark, order, places.before(unit), taken, places.target)
            taken = max(taken, edit.start)
            edits.append(edit)
            continue
        if order in ends:
            at = ends[order]
        elif mark.kind is ItemKind.OPEN:
            at = places.before(unit)
            partner = pairs.get(order)
            span = places.span(unit, places.unit_at(marks[partner].at)) if partner is not None else None
            if partner is not None and span is not None:
                at, ends[partner] = span
        elif mark.kind is ItemKind.CLOSE or mark.before == mark.behind or not mark.before:
            at = places.behind(unit - 1)
        else:
            at = places.before(unit)
        edits.append(_put(mark, order, at, places.target))
    return edits if _is_nested(edits, pairs) else _in_order(edits)


def _space(mark: InlineMark, order: int, at: int, taken: int, target: str) -> Edit:
    """In place of the space before ``at``, or the next one that no other mark has taken."""
    found = target.rfind(" ", taken + 1, max(at, taken + 1))
    if found < 0:
        found = target.find(" ", max(at, taken + 1))
    if found < 0:
        return Edit(len(target), len(target), ItemKind.SPACE, order, mark.text)
    return Edit(found, found + 1, ItemKind.SPACE, order, mark.text)


def _put(mark: InlineMark, order: int, at: int, target: str) -> Edit:
    text = mark.text
    if mark.kind is ItemKind.OPEN:
        text += " " * mark.behind
    elif mark.kind is ItemKind.CLOSE:
        text = " " * mark.before + text
    elif mark.before and mark.behind:
        while at < len(target) and target[at] in CLOSERS:
            at += 1
        text = f" {text}"
    return Edit(at, at, mark.kind, order, text)


def _pairs(marks: Sequence[InlineMark]) -> dict[int, int]:
    """The closing mark of each opening one, by their places in ``marks``."""
    pairs: dict[int, int] = {}
    opened: dict[str, list[int]] = {}
    for number, mark in enumerate(marks):
        if mark.kind is ItemKind.OPEN:
            opened.setdefault(_name(mark.text), []).append(number)
        elif mark.kind is ItemKind.CLOSE and (before := opened.get(_name(mark.text))):
            pairs[before.pop()] = number
    return pairs


def _name(mark: str) -> str:
    """``a`` for ``<a href=…>`` and ``</a>``; other marks have themselves as a name."""
    return mark.strip("</>").split(None, 1)[0].lower() if mark.startswith("<") else mark


def _sorted(edits: Sequence[Edit]) -> list[Edit]:
    return sorted(edits, key=lambda edit: (edit.start, LATER[edit.kind], edit.order))


def _is_nested(edits: Sequence[Edit], pairs: dict[int, int]) -> bool:
    """Whether pairs contain each other or stand apart, as in a tree."""
    partner = {close: begin for begin, close in pairs.items()}
    stack: list[int] = []
    for edit in _sorted(edits):
        if edit.order in pairs:
            stack.append(edit.order)
        elif edit.order in partner and (not stack or stack.pop() != partner[edit.order]):
            return False
    return True


def _in_order(edits: Sequence[Edit]) -> list[Edit]:
    """The same in the order of the source, so that a tree stays one."""
    found: list[Edit] = []
    at = 0
    for edit in edits:
        start = max(edit.start, at)
        end = max(edit.end, start)
        found.append(edit._replace(start=start, end=end, kind=ItemKind.POINT))
        at = end
    return found


def _edited(target: str, edits: Sequence[Edit], shown: int) -> str:
    parts: list[str] = []
    at = 0
    for edit in _sorted(edits):
        start = max(edit.start, shown, at)
        parts += target[at:start], edit.text
        at = max(edit.end, start)
    return "".join([*parts, target[at:]])
