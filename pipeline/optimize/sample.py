"""The sentences that inferstream ships, of many subjects: what builds calibrate on and are measured on."""

from collections.abc import Sequence
from importlib import resources
from typing import Final

SAMPLE: Final = "sentences.tsv"
JOINED: Final = (24, 15)
"""Numbers of long texts to calibrate on: of 10 sentences each, and of 16, which fill a window."""


def load_sample() -> tuple[list[str], list[str]]:
    """(sentences, labels) of the sample that inferstream ships."""
    text = resources.files(__package__).joinpath(SAMPLE).read_text("utf-8")
    rows = [line.split("\t", 1) for line in text.splitlines() if line]
    return [row[1] for row in rows], [row[0] for row in rows]


def calibration_texts(sentences: Sequence[str]) -> list[str]:
    """The sentences, followed by long texts that join sentences from all parts of the list.

    Single sentences never reach the later positions; without long texts, int8 is much worse on long
    texts.
    """
    joined = (" ".join(sentences[first::count]) for count in JOINED for first in range(count))
    return [*sentences, *joined]
