"""The model of `steps` in a worker of a chaos run: each step takes its time, and fails on demand."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DeviceError, DeviceUnavailable
from ...runtime.graph import Feeds
from ...runtime.model import Row
from ..load.requests import ABORTS, AWAY, FAILS
from ..steps import START, StepsModel
from .faulty_session import GRACE_S, TIMES_AWAY, DeviceCounts, FaultState, apply, deadline_of

SMALL_ROWS: Final = 6
"""Rows that fit while the device is short of memory; the reading of a long text has more tokens."""


class TimedSteps:
    """A graph that gives back what it gets, after ``step_s`` for each run."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        """``feeds["input_ids"]``, of shape (rows, length)."""
        time.sleep(self._step_s)
        return [feeds["input_ids"].astype(np.float32)]


class Marked(NamedTuple):
    """A row with a marked text: ``word`` takes effect at the step that makes its last character."""

    text: str
    word: str
    step: int


class FaultySteps(StepsModel):
    """Runs steps, unless a fault or a marked text forbids it. Counts the rows of each step."""

    def __init__(
        self, step_s: float, faults: Callable[[], FaultState], wall_clock: Callable[[], float]
    ) -> None:
        """``wall_clock`` must be correct."""
        super().__init__(TimedSteps(step_s))
        self._faults = faults
        self._wall_clock = wall_clock
        self._marked: dict[Row, Marked] = {}
        self._due: dict[Row, float] = {}
        self._away: Counter[str] = Counter()
        self.counts = DeviceCounts()

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `Model.step`. May end the process."""
        if rows[0].phase == START:
            for row in rows:
                self._read(row)
        else:
            apply(self._faults(), len(rows), SMALL_ROWS)
            for row in rows:
                if (marked := self._marked.get(row)) is not None and row.state == marked.step:
                    self._obey(marked)
        self._count(rows)
        results = super().step(rows)
        self._forget([row for row in rows if row not in self.running])
        return results

    def drop(self, rows: Sequence[Row]) -> None:
        """See `Model.drop`."""
        super().drop(rows)
        self._forget(rows)

    def _read(self, row: Row) -> None:
        """Note the mark and the deadline in the text of a row."""
        text = "".join(map(chr, row.tokens))
        for word in (FAILS, ABORTS, AWAY):
            if (at := text.find(word)) >= 0:
                self._marked[row] = Marked(text, word, at + len(word) - 1)
        if (deadline := deadline_of(text)) is not None:
            self._due[row] = deadline

    def _obey(self, marked: Marked) -> None:
        if marked.word == ABORTS:
            os.abort()
        if marked.word == FAILS:
            raise DeviceError("The device cannot make this character.")
        if self._away[marked.text] < TIMES_AWAY:
            self._away[marked.text] += 1
            raise DeviceUnavailable("The device is unavailable for this step: try again.")

    def _count(self, rows: Sequence[Row]) -> None:
        now = self._wall_clock()
        late_s = [now - self._due[row] for row in rows if row in self._due]
        self.counts.rows += len(rows)
        self.counts.late_rows += sum(late > GRACE_S for late in late_s)
        self.counts.latest_s = max([self.counts.latest_s, *late_s])

    def _forget(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._marked.pop(row, None)
            self._due.pop(row, None)
