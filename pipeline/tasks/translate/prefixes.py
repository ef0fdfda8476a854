"""The prefix of a request: which sentence it ends in, and what of it the model is forced to begin with."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .capitals import in_small_letters
from .items import ItemKind
from .known_signs import KnownSigns
from .reading import ReadSentence
from .sentence import InlineMark, Sentence

LENGTHS: Final = 1.7
SLACK: Final = 10  # characters: the lengths of short sentences differ more

ENDS: Final = ".!?\u2026"


class Forced(NamedTuple):
    """What the model begins with, and the marks of the sentence that are not in it."""

    text: str
    marks: Sequence[InlineMark]


def covered(read: Sequence[ReadSentence], shown: Iterable[str]) -> bool:
    """Whether the sentences ``shown`` are the whole translations of the first ones that were ``read``.

    There must be one more, and each pair must end in the same way and have a similar length: a point of an
    abbreviation in one language may look like the end of a sentence in the other.
    """
    pairs = list(zip(read, shown, strict=False))
    ends_alike = all(_end(one.text) == _end(text) for one, text in pairs)
    alike = all(
        1 / LENGTHS <= (len(one.text) + SLACK) / (len(text) + SLACK) <= LENGTHS for one, text in pairs
    )
    return len(read) > len(pairs) and ends_alike and alike


def _end(text: str) -> str:
    """The sign that ends a sentence, without quotes and spaces; none for another one."""
    last = text.rstrip(" \t\n\r\"'\u201d\u2019)*_</>ibu")[-1:]
    return last if last in ENDS else ""


def forced(sentence: Sentence, prefix: str, signs: KnownSigns) -> Forced:
    """``prefix``, the beginning of the translation of ``sentence``, as the model gets it."""
    for number, word in enumerate(sentence.words, 1):
        before, behind = sentence.glued[number - 1]
        whole = ("" if before else r"(?<!\w)") + re.escape(word) + ("" if behind else r"(?!\w)")
        name = f"{' ' * before}{sentence.sign}-{number}{' ' * behind}"
        prefix = re.sub(whole, name, prefix, count=1)
    marks: list[InlineMark] = []
    if prefix.startswith(sentence.lead):
        prefix = prefix.removeprefix(sentence.lead)
    at = 0
    for mark in sentence.marks:
        found = prefix.find(mark.text, at)
        if found < 0:
            marks.append(mark)
            continue
        space = " " if mark.kind is ItemKind.SPACE else ""
        prefix = prefix[:found] + space + prefix[found + len(mark.text) :]
        at = found + len(space)
    if sentence.all_capitals:
        prefix = in_small_letters(prefix).replace(f"{sentence.sign.lower()}-", f"{sentence.sign}-")
    known = (char if signs.is_known(char) else " " for char in signs.readable(prefix))
    return Forced(" ".join("".join(known).split()), marks)
