"""The texts that are translated in a run."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ...errors import UsageError

MIN_LINES: Final = 10


def read_lines(path: Path) -> list[str]:
    """One text a line. Raises UsageError for a file that cannot be read, or has fewer than `MIN_LINES`."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: give a text file in UTF-8, with one text a line.") from error
    if len(lines) < MIN_LINES or not all(line.strip() for line in lines):
        raise UsageError(f"{path} needs at least {MIN_LINES} lines, none of them empty.")
    return lines


def distinct(lines: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` different texts in random order: lines, and beyond their number two lines joined.

    Equal requests that wait at once are one for a worker, so no text may occur twice.
    """
    generator = random.Random(seed)
    found = dict.fromkeys(generator.sample(list(lines), min(count, len(lines))))
    while len(found) < min(count, len(lines) ** 2):
        found[" ".join(generator.choices(lines, k=2))] = None
    texts = list(found)
    generator.shuffle(texts)
    return texts


def part_of_distinct(lines: Sequence[str], count: int, most: int, seed: int) -> list[str]:
    """``count`` of the ``most`` texts of `distinct`, with the same share of joined lines as all.

    So fleets of all sizes have texts that cost the same.
    """
    return distinct(lines, most, seed)[:count]
