"""Texts that a triage model was not made for: other subjects, and tickets that are mangled."""

import random
from typing import Final

from ...sample import load_sample

SHARE: Final = 0.05
"""Of the tickets: as many foreign texts of each of the two kinds at most. There are 240 sentences in the sample."""

SEED: Final = 0


def other_subjects(tickets: int) -> list[str]:
    """Sentences of the sample that inferstream ships, which is about many subjects."""
    sentences = sorted(set(load_sample()[0]))
    random.Random(SEED).shuffle(sentences)
    return sentences[: _count(tickets)]


def mangled_rows(tickets: int) -> list[int]:
    """The numbers of the tickets that are mangled, in random order."""
    return random.Random(SEED).sample(range(tickets), _count(tickets))


def mangled(text: str, other: str, number: int) -> str:
    """A ticket with changed letters, only a part of one, or one that goes on with another one; the kinds take turns.

    The same arguments make the same text.
    """
    draw = random.Random(f"{number} {text}")
    words = text.split()
    half = max(1, len(words) // 2)
    kind = number % 3
    if kind == 0:
        return " ".join(_misspelled(word, draw) for word in words)
    if kind == 1:
        start = draw.randrange(len(words) - half + 1) if words else 0
        return " ".join(words[start : start + half])
    return " ".join([*words[:half], *other.split()[half:]])


def _misspelled(word: str, draw: random.Random) -> str:
    """With two letters exchanged, if it has as many."""
    if len(word) < 4:
        return word
    at = draw.randrange(1, len(word) - 2)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _count(tickets: int) -> int:
    return round(tickets * SHARE)
