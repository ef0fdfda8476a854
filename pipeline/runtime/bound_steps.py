"""Steps of a decoder's graph for neighboring rows of one memory, bound once and run in place."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bound_run import Address, Bound, BoundRun
from .row_memory import RowMemory
from .sessions import Session

MOST_BOUND = 256
"""Bindings that are kept: rows × lengths of chunks that occur. Making one takes 0.3 ms."""


class RowWindow(NamedTuple):
    """Neighboring rows, and the tokens of each in this step."""

    first: int
    rows: int
    steps: int
    scored: bool  # whether the scores of all tokens are asked for, and not only the best one


class StepResult(NamedTuple):
    """For each wanted token. Valid until the next step."""

    best: NDArray[np.int64]
    scores: NDArray[np.float32]


class BoundSteps:
    """The runs of one lane. The arrays in front of a run are filled, and those behind it are read, in place."""

    def __init__(self, session: Session, memory: RowMemory, most_steps: int) -> None:
        self._session = session
        self._memory = memory
        most_wanted = memory.rows + 1
        self._words = int(session.output_shapes["scores"][1])
        self._tokens = np.zeros(max(most_steps, most_wanted), np.int64)
        self._last = np.zeros(most_wanted, np.int32)
        self._longest = np.zeros((), np.int32)
        self._wanted = np.zeros(most_wanted, np.int64)
        self._best = np.zeros(most_wanted, np.int64)
        self._scores = np.zeros((most_wanted, self._words), np.float32)
        self._bound: dict[RowWindow, BoundRun] = {}

    def run(
        self, window: RowWindow, tokens: NDArray[np.int64], last: list[int], wanted: list[int]
    ) -> StepResult:
        """Run one step. ``tokens`` (rows × steps), ``last`` of each row, ``wanted``: as many as rows, or 2."""
        self._tokens[: tokens.size] = tokens
        self._last[: window.rows] = last
        whole = self._session.memory.apart and window.steps == 1
        self._longest[...] = self._memory.context if whole else max(last) + 1
        self._wanted[: len(wanted)] = wanted
        if (bound := self._bound.get(window)) is None:
            if len(self._bound) >= MOST_BOUND:
                self._bound.clear()
            bound = self._bound[window] = self._bind(window, len(wanted))
        bound.run()
        return StepResult(self._best[: len(wanted)], self._scores[: len(wanted)])

    def _bind(self, window: RowWindow, wanted: int) -> BoundRun:
        inputs: dict[str, Bound | Address] = {
            "tokens": Bound(self._tokens, (window.rows, window.steps)),
            "last": Bound(self._last, (window.rows,)),
            "longest": Bound(self._longest, ()),
            "wanted": Bound(self._wanted, (wanted,)),
        }
        outputs: dict[str, Bound | Address] = {"best": Bound(self._best, (wanted,))}
        if window.scored:
            outputs["scores"] = Bound(self._scores, (wanted, self._words))
        for number, place in enumerate(self._memory.key_values.bound(window.first, window.rows)):
            name = f"{'values' if number % 2 else 'keys'}_{number // 2}"
            inputs[name] = place
            outputs[f"new_{name}"] = place
        return self._session.bind(inputs, outputs)
