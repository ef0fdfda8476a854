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
        lost_capital: the body begins with a capital, and the source with a small letter.
        foreign: most of its letters are of a script that the model does not know.
        all_capitals: the body is in capitals, and the source is not.
        glued: of each word, whether it touches a letter or a word before and behind it; the source has a space there.
    """

    lead: str
    trail: str
    source: str
    plain: str
    sign: str = SIGNS[0]
    words: Sequence[str] = ()
    marks: Sequence[InlineMark] = ()
    lost_capital: bool = False
    foreign: bool = False
    all_capitals: bool = False
    glued: Sequence[tuple[bool, bool]] = ()


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
        lost = _loses_capital(body, source)
        return Sentence(text[:begin], text[end:], source, body, lost_capital=lost, all_capitals=capitals)
    return _with_items(text, inner, begin, end, readable)


def _skipped(text: str, begin: int, end: int) -> int:
    while begin < end and text[begin].isspace():
        begin += 1
    return begin


class _Source:
    """What the model gets of a body, while it is put together from its chunks and items."""

    def __init__(self, sign: str, readable: Callable[[str], str], *, capitals: bool) -> None:
        self.words: list[str] = []
        self.glued: list[tuple[bool, bool]] = []
        self.marks: list[InlineMark] = []
        self.letters = 0
        self.foreign = 0  # letters in words that the model does not know
        self._sign = sign
        self._readable = readable
        self._capitals = capitals
        self._parts: list[str] = []
        self._length = 0
        self._behind_word = False

    def __str__(self) -> str:
        return "".join(self._parts)

    def add_chunk(self, chunk: str) -> None:
        if self._capitals:
            chunk = chunk.lower() if self.letters or self.words else in_small_letters(chunk)
        self.letters += sum(map(str.isalpha, chunk))
        if chunk := self._readable(chunk):
            if self._behind_word and chunk[0].isalnum():
                self._glue()
                self._add(" ")
            self._add(chunk)
            self._behind_word = False

    def add_item(self, item: Item, before: bool, behind: bool) -> None:
        if item.kind is ItemKind.WORD:
            self._add_word(item)
        elif item.kind is ItemKind.SPACE or (item.kind is ItemKind.POINT and not before and not behind):
            self.marks.append(InlineMark(ItemKind.SPACE, item.text, self._length))
            self._add(" ")
            self._behind_word = False
        else:
            self.marks.append(InlineMark(item.kind, item.text, self._length, before, behind))

    def _add_word(self, item: Item) -> None:
        touches = bool(self._parts) and self._parts[-1][-1].isalnum()
        if touches and self._behind_word:
            self._glue()
        self.words.append(item.text)
        self.glued.append((touches, False))
        self.foreign += sum(map(str.isalpha, item.text)) if item.foreign else 0
        self._add(f"{' ' * touches}{self._sign}-{len(self.words)}")
        self._behind_word = True

    def _glue(self) -> None:
        """The last word touches what comes: without a space the model would not copy its placeholder."""
        self.glued[-1] = self.glued[-1][0], True

    def _add(self, part: str) -> None:
        self._parts.append(part)
        self._length += len(part)


def _with_items(
    text: str, items: Sequence[Item], begin: int, end: int, readable: Callable[[str], str]
) -> Sentence:
    sign = next((sign for sign in SIGNS if f"{sign}-" not in text), SIGNS[0])
    capitals = is_in_capitals(_without(items, text, begin, end))
    made = _Source(sign, readable, capitals=capitals)
    plain: list[str] = []
    at = begin
    for item, (before, behind) in zip(items, _spaces(text, items), strict=True):
        made.add_chunk(text[at : item.start])
        made.add_item(item, before, behind)
        plain += text[at : item.start], item.text
        at = item.end
    made.add_chunk(text[at:end])
    plain.append(text[at:end])
    foreign = made.foreign > made.letters
    whole = str(made) if made.letters and not foreign else ""
    body = "".join(plain)
    return Sentence(
        text[:begin],
        text[end:],
        whole,
        body,
        sign,
        made.words,
        made.marks,
        lost_capital=_loses_capital(body, whole),
        foreign=foreign,
        all_capitals=capitals,
        glued=made.glued,
    )


def _without(items: Sequence[Item], text: str, begin: int, end: int) -> str:
    """The text from ``begin`` to ``end`` with a space in place of each item."""
    parts: list[str] = []
    for item in items:
        parts.append(text[begin : item.start])
        begin = item.end
    return " ".join([*parts, text[begin:end]])


def _loses_capital(body: str, source: str) -> bool:
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
    """Finds the placeholders of a sentence in a translation. Groups: the space before, the number, the space behind."""
    return re.compile(rf"( ?)\b{sentence.sign} ?- ?(\d+)(?!\d)( ?)")
