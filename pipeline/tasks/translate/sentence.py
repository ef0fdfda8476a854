"""A sentence as the model gets it, and what is kept of it: around it, in place of words, and between words."""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from .capitals import in_small_letters, is_in_capitals
from .items import Item, ItemKind

SIGNS: Final = ("EZ", "QX", "ZQ", "XK", "KZ", "QJ")
"""What a placeholder begins with; the first one that the sentence does not have.

``EZ-1`` was the one that the models copied best: 98 % of up to eight in a sentence of FLORES in place of random words.
"""


class InlineMark(NamedTuple):
    """An item that stands at the place ``at`` of the source, in no word's place.

    ``before`` and ``behind``: whether there is a space on that side of it.
    """

    kind: ItemKind
    text: str
    at: int
    before: bool = False
    behind: bool = False


class Sentence(NamedTuple):
    """A sentence. ``lead`` + body + ``trail`` is its text; ``source`` is what the model gets of the body.

    Attributes:
        source: has placeholders for ``words``; empty if there is nothing to translate.
        plain: the body if nothing of it is translated: itself, with the terms of the glossary.
        sign: what the placeholders begin with.
        words: what stands for each placeholder; its number is its place here, from 1.
        marks: in the order of the text.
        capital: the body begins with a capital, and the source with a small letter.
        foreign: most of its letters are of a script that the model does not know.
        capitals: the body is in capitals, and the source is not.
    """

    lead: str
    trail: str
    source: str
    plain: str
    sign: str = SIGNS[0]
    words: Sequence[str] = ()
    marks: Sequence[InlineMark] = ()
    capital: bool = False
    foreign: bool = False
    capitals: bool = False


def sentence_of(text: str, items: Sequence[Item], readable: Callable[[str], str]) -> Sentence:
    """The sentence ``text`` with its ``items``. ``readable``: writes signs as the model knows them."""
    first, last = 0, len(items)
    begin, end = 0, len(text)
    while True:  # marks and spaces at the beginning
        begin = _skipped(text, begin, end)
        while first < last and items[first].end <= begin:
            first += 1
        if first == last or items[first].start != begin or items[first].kind is ItemKind.WORD:
            break
        begin = items[first].end
    while end > begin:
        end = begin + len(text[begin:end].rstrip())
        while last > first and items[last - 1].start >= end:
            last -= 1
        if last == first or items[last - 1].end != end or items[last - 1].kind is ItemKind.WORD:
            break
        end = items[last - 1].start
    inner = items[first:last]
    if not inner:
        body = text[begin:end]
        capitals = is_in_capitals(body)
        source = readable(in_small_letters(body) if capitals else body) if any(map(str.isalpha, body)) else ""
        capital = _lost_capital(body, source)
        return Sentence(text[:begin], text[end:], source, body, capital=capital, capitals=capitals)
    return _with_items(text, inner, begin, end, readable)


def _skipped(text: str, begin: int, end: int) -> int:
    while begin < end and text[begin].isspace():
        begin += 1
    return begin


def _with_items(
    text: str, items: Sequence[Item], begin: int, end: int, readable: Callable[[str], str]
) -> Sentence:
    sign = next((sign for sign in SIGNS if f"{sign}-" not in text), SIGNS[0])
    source: list[str] = []
    plain: list[str] = []
    words: list[str] = []
    marks: list[InlineMark] = []
    length = letters = strange = 0
    capitals = is_in_capitals(_without(items, text, begin, end))

    def add(part: str) -> None:
        nonlocal length
        source.append(part)
        length += len(part)

    def read(chunk: str) -> None:
        nonlocal letters
        if capitals:
            chunk = chunk.lower() if letters or words else in_small_letters(chunk)
        letters += sum(map(str.isalpha, chunk))
        add(readable(chunk))

    at = begin
    for item, (before, behind) in zip(items, _spaces(text, items), strict=True):
        chunk = text[at : item.start]
        read(chunk)
        plain += chunk, item.text
        at = item.end
        if item.kind is ItemKind.WORD:
            words.append(item.text)
            add(f"{sign}-{len(words)}")
            strange += sum(map(str.isalpha, item.text)) if item.foreign else 0
        elif item.kind is ItemKind.SPACE or (item.kind is ItemKind.POINT and not before and not behind):
            marks.append(InlineMark(ItemKind.SPACE, item.text, length))
            add(" ")
        else:
            marks.append(InlineMark(item.kind, item.text, length, before, behind))
    read(text[at:end])
    plain.append(text[at:end])
    foreign = strange > letters
    whole = "".join(source) if letters and not foreign else ""
    body = "".join(plain)
    lead, trail = text[:begin], text[end:]
    capital = _lost_capital(body, whole)
    return Sentence(lead, trail, whole, body, sign, words, marks, capital, foreign, capitals)


def _without(items: Sequence[Item], text: str, begin: int, end: int) -> str:
    """The text from ``begin`` to ``end`` with a space in place of each item."""
    parts: list[str] = []
    for item in items:
        parts.append(text[begin : item.start])
        begin = item.end
    return " ".join([*parts, text[begin:end]])


def _lost_capital(body: str, source: str) -> bool:
    return body[:1].isupper() and source[:1].islower()


def _spaces(text: str, items: Sequence[Item]) -> list[tuple[bool, bool]]:
    """Whether there is a space before and behind each item. Marks that touch each other are one."""
    found: list[tuple[bool, bool]] = []
    first = 0
    alone = (ItemKind.WORD, ItemKind.SPACE)
    for number, item in enumerate(items):
        following = items[number + 1] if number + 1 < len(items) else None
        touches = following is not None and following.start == item.end and following.kind not in alone
        if touches and item.kind not in alone:
            continue
        before = text[items[first].start - 1 : items[first].start].isspace()
        behind = text[item.end : item.end + 1].isspace()
        found += [(before, behind)] * (number + 1 - first)
        first = number + 1
    return found


def placeholders(sentence: Sentence) -> "re.Pattern[str]":
    """Finds the placeholders of a sentence in a translation; the group is the number."""
    return re.compile(rf"\b{sentence.sign} ?- ?(\d+)(?!\d)")
