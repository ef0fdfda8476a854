"""The first steps of a lane: they bind all sizes, take memory, and may be measured."""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from .bound_steps import BoundSteps, RowWindow
from .generated_row import CHUNK, DECODE, PREFILL
from .model import Measure
from .row_memory import RowMemory

CHUNKS: Final = (2, CHUNK // 8, CHUNK // 4, CHUNK // 2, CHUNK)

TYPICAL: Final = 200
"""Tokens of a row in the steps that are measured. Eight rows of 800 take 1.6 times as long as of 200."""


def run_once(_phase: str, _rows: int, _length: int, run: Callable[[], object]) -> None:
    """`Measure` that only runs."""
    run()


def warm_steps(memory: RowMemory, steps: BoundSteps, context: int, fewest: int, measure: Measure) -> None:
    """Run steps of ``fewest`` to all rows, with and without their scores, and chunks of a prompt."""
    for rows in range(fewest, memory.rows + 1):
        _run(steps, RowWindow(0, rows, 1, True), context, run_once)
        _run(steps, RowWindow(0, rows, 1, False), context, measure)
    for length in CHUNKS:
        if length <= context:
            _run(steps, RowWindow(0, 1, length, False), context, measure)


def _run(steps: BoundSteps, window: RowWindow, context: int, measure: Measure) -> None:
    rows, length = window.rows, window.steps
    tokens = np.zeros(rows * length, np.int64)
    last = [max(length, min(TYPICAL, context)) - 1] * rows
    wanted = [*range(rows)] if length == 1 else [length - 1] * 2
    run = partial(steps.run, window, tokens, last, wanted)
    measure(DECODE if length == 1 else PREFILL, rows, length, run)
