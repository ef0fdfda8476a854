"""Reads a text as a model needs it: sentences that fit into a row, with what must be kept of them."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ...models.manifest import Manifest
from ...runtime.subwords import END, Subwords
from .code_blocks import blocks
from .glossary import Glossary
from .items import Item, ItemKind, items_of
from .known_signs import KnownSigns
from .sentence import Sentence, sentence_of
from .splitting import cut_of, paragraphs, sentence_ends

FILLER: Final = "X"
BARRIER: Final = "\0"  # in place of a line break: no term goes over it
REACH: Final = 100
"""Items before the end of a term that may lie in it: a term has 100 characters at most."""


class ReadSentence(NamedTuple):
    """A sentence, its text, and its tokens with an end; none if there is nothing to translate."""

    text: str
    sentence: Sentence
    tokens: Sequence[int]


class Reader:
    """Reads texts for one model. Several threads may call it at once."""

    def __init__(self, manifest: Manifest, subwords: Subwords, glossary: Glossary) -> None:
        self.signs = KnownSigns(subwords.characters)
        self._subwords = subwords
        self._glossary = glossary
        self._max_tokens = manifest.max_tokens

    def sentences(self, text: str, language: str, own: Glossary | None = None) -> Iterator[ReadSentence]:
        """The sentences of ``text``, which join to it. Terms of ``own`` come before those of the file."""
        for block, is_code in blocks(text):
            if is_code:
                yield ReadSentence(block, Sentence("", "", "", block), ())
                continue
            for paragraph in paragraphs(block):
                yield from self._sentences(paragraph, language, own)

    def _sentences(self, paragraph: str, language: str, own: Glossary | None) -> Iterator[ReadSentence]:
        items = self._items(paragraph, own)
        start = 0
        at = 0
        for end in _ends(paragraph, items, language):
            inside: list[Item] = []
            while at < len(items) and items[at].start < end:
                inside.append(_moved(items[at], start))
                at += 1
            yield from self._fitting(paragraph[start:end], inside)
            start = end

    def one(self, text: str, own: Glossary | None = None) -> ReadSentence:
        """``text`` as one sentence, of any length."""
        return self._read(text, self._items(text, own))

    def _items(self, paragraph: str, own: Glossary | None) -> Sequence[Item]:
        items = list(items_of(paragraph, self.signs.is_known))
        used = [glossary for glossary in (self._glossary, own) if glossary]
        if used:
            lines = _filled(paragraph, [item for item in items if item.kind is ItemKind.SPACE], BARRIER)
            for glossary in used:
                items = _merged(items, list(glossary.items(lines)))
        return items

    def _read(self, text: str, items: Sequence[Item]) -> ReadSentence:
        sentence = sentence_of(text, items, self.signs.readable)
        tokens = [*self._subwords.encode(sentence.source), END] if sentence.source else ()
        return ReadSentence(text, sentence, tokens)

    def _fitting(self, text: str, items: Sequence[Item]) -> Iterator[ReadSentence]:
        """The sentence, in parts if it has too many tokens."""
        read = self._read(text, items)
        cut = 0
        if len(read.tokens) > self._max_tokens:
            whole = [item for item in items if item.kind is not ItemKind.SPACE]  # no cut falls into one
            cut = cut_of(_filled(text, whole, FILLER)) % len(text) or _middle(text, whole)
        if not cut:
            yield read
            return
        yield from self._fitting(text[:cut], [item for item in items if item.end <= cut])
        yield from self._fitting(text[cut:], [_moved(item, cut) for item in items if item.start >= cut])


def _merged(items: Sequence[Item], terms: Sequence[Item]) -> list[Item]:
    """Both in order; of those that overlap the terms, or the items that hold a term as a part."""
    kept: list[Item] = []
    starts = [item.start for item in items]
    for term in terms:
        at = bisect_left(starts, term.end)
        holds = [item for item in items[max(0, at - REACH) : at] if item.end > term.start]
        if not any(item.start < term.start or item.end > term.end for item in holds):
            kept.append(term)
    found = sorted([*items, *kept], key=lambda item: (item.start, -item.end))
    merged: list[Item] = []
    chosen = set(map(id, kept))
    for item in found:
        if not merged or item.start >= merged[-1].end:
            merged.append(item)
        elif id(item) in chosen:
            merged[-1] = item
    return merged


def _ends(paragraph: str, items: Sequence[Item], language: str) -> Iterator[int]:
    """Where the sentences end; the items are not read: no sentence ends inside of a link or a tag."""
    if not items:
        yield from sentence_ends(paragraph, language)
        return
    parts: list[str] = []
    places: list[int] = []  # in the text that is split, of what is not in it
    lengths: list[int] = [0]  # of all that is left out up to there
    length = at = 0
    for item in items:
        parts.append(paragraph[at : item.start])
        length += item.start - at
        at = item.end
        size = item.end - item.start
        if item.kind in (ItemKind.WORD, ItemKind.SPACE):
            parts.append((FILLER if item.kind is ItemKind.WORD else " ") * size)
            length += size
        else:
            places.append(length)
            lengths.append(lengths[-1] + size)
    parts.append(paragraph[at:])
    plain = "".join(parts)
    at = begin = 0
    for end in sentence_ends(plain, language) if plain else ():
        end += lengths[bisect_left(places, end)]
        while at < len(items) and items[at].end <= end:
            at += 1
        if at < len(items) and items[at].start < end:  # a cut in a long text may fall into an item
            end = items[at].end
        if begin < end < len(paragraph):
            yield end
            begin = end
    yield len(paragraph)


def _middle(text: str, items: Sequence[Item]) -> int:
    """The middle of a text without a space, as letters with tags between them; an end of the item that lies there."""
    middle = len(text) // 2
    item = next((one for one in items if one.start < middle < one.end), None)
    return middle if item is None else item.start or item.end % len(text)


def _filled(text: str, items: Sequence[Item], filler: str) -> str:
    """The text with ``filler`` in place of each character of the items."""
    parts: list[str] = []
    at = 0
    for item in items:
        parts += text[at : item.start], filler * (item.end - item.start)
        at = item.end
    return "".join([*parts, text[at:]])


def _moved(item: Item, by: int) -> Item:
    return item._replace(start=item.start - by, end=item.end - by)
