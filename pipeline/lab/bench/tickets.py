"""The texts that a benchmark sends."""

import random
from collections.abc import Sequence
from pathlib import Path

from ...errors import UsageError
from ...rows.csv_rows import Wanted
from ...rows.dialect import Dialect
from ...rows.row_file import cell_of, read_rows


def read_texts(path: Path, column: str = "text", dialect: Dialect | None = None) -> list[str]:
    """The texts in a column of a file; rows without one are left out. Raises UsageError."""
    rows = read_rows(path, Wanted({"--text": column}), dialect)
    texts = [text for row in rows if (text := cell_of(path, row, column)) is not None]
    if not texts:
        raise UsageError(f"{path} holds no texts in {column!r}: name the column by --text.")
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
