"""The texts that a benchmark sends."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ...errors import UsageError


def read_texts(path: Path) -> list[str]:
    """The texts of a JSONL file (field ``text``) or a CSV file (column ``text``). Raises UsageError."""
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                texts = [row["text"] for row in csv.DictReader(file)]
        else:
            texts = [
                msgspec.json.decode(line)["text"] for line in path.read_bytes().splitlines() if line.strip()
            ]
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} needs a text in each line: a `text` field in JSONL, a `text` column in CSV."
        ) from error
    texts = [text for text in texts if text and not text.isspace()]
    if not texts:
        raise UsageError(f"{path} holds no texts.")
    return texts


def mixed(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` texts in random order; the numbers of times that two texts occur differ by at most one."""
    shuffled: list[str] = []
    generator = random.Random(seed)
    while len(shuffled) < count:
        shuffled += generator.sample(list(texts), len(texts))
    return shuffled[:count]


def shortened(texts: Sequence[str], words: int) -> list[str]:
    """The first ``words`` words of each text."""
    return [" ".join(text.split()[:words]) for text in texts]
