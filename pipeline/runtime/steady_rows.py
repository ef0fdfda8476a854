"""Whether the CPU gives a row the same bits alone as beside another one: then a text alone needs no second row."""

import numpy as np
from numpy.typing import NDArray

from .bound_steps import BoundSteps, RowWindow
from .row_memory import RowMemory

READ = 8
STEPS = 3
"""Steps that are compared. Two orders of additions gave other scores in the first one (AVX2, 4 bits)."""


def is_steady_alone(memory: RowMemory, steps: BoundSteps, words: int) -> bool:
    """Compare all bits of some steps of one row and of two: keys, values and scores. Before the memory is used."""
    if memory.context < READ + STEPS:
        return False
    prompt = np.random.default_rng(0).integers(0, words, READ + STEPS)
    found = [_bits(memory, steps, prompt, rows) for rows in (1, 2)]
    return found[0] == found[1]


def _bits(memory: RowMemory, steps: BoundSteps, prompt: NDArray[np.int64], rows: int) -> list[bytes]:
    steps.run(RowWindow(0, 1, READ, False), prompt[:READ], [READ - 1], [READ - 1] * 2)
    bits = []
    for place in range(READ, READ + STEPS):
        tokens = np.full(rows, prompt[place])
        last = [place, *[0] * (rows - 1)]
        result = steps.run(RowWindow(0, rows, 1, True), tokens, last, list(range(rows)))
        bits.append(result.scores[0].tobytes())
    return bits + memory.key_values.read(0, READ + STEPS)
