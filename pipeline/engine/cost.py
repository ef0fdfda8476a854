"""The cost model: milliseconds of a batch by its shape, learned on this device while it runs."""

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runtime.model import Row
from .output_lengths import KNOTS as OUTPUT_KNOTS
from .output_lengths import OutputLengths

PRIOR = (0.2, 0.05, 0.02, 0.00002)
"""Weights before any measurement: ms of a call, a row, a padded token, a token pair of one row."""

NO_STEPS = 0.0
"""The fifth weight, of a token of the longest row, in a model whose outputs are not generated inside of a run."""

KNOTS = 40
"""Size of the correction: two knots for each power of two of the padded tokens, up to 2^19."""

OBSERVE_WEIGHT = 0.05
"""Weight of one new measurement in the correction of its knots."""

STRETCH_WEIGHT = 0.1
"""Weight of the newest batch in ``Cost.stretch``."""

MAX_STRETCH = 10.0
"""Bound of one batch's ratio of wall time to cost, so that one stall does not dominate."""

STORED = ("weights", "knots", "outputs")

CALIBRATION_ROWS = (1, 2, 4, 8, 16, 32)
CALIBRATION_LENGTHS = (8, 16, 32, 64, 128, 256)
CALIBRATION_TOKENS = 1_024


class CostSample(NamedTuple):
    """One measured run: ``rows`` x ``length`` padded tokens took ``ms``. For ``length`` see `Cost.length`."""

    rows: int
    length: int
    ms: float


class Cost:
    """Predicts the milliseconds of a batch of (rows, length), once it has learned the device.

    The prediction is a linear model of the shape times a correction by its size. The linear model
    covers shapes that have never run. The correction, piecewise linear in the logarithm of the
    padded tokens, covers what is not linear: a batch that outgrows a cache costs more for each
    token. It follows the device while it runs. Several threads read and update it; an update may be
    lost, which averages out.

    A run that generates its outputs takes one step after the other, all rows at once, until the longest one
    has ended. So each token of the longest row costs something, however many rows there are. How long an
    output will be is expected from its input (`OutputLengths`).

    ``stretch`` is wall time over stopwatch time of a run: threads that share cores wait for each
    other. It depends on the load of the moment, so it is not stored.
    """

    def __init__(
        self,
        weights: Sequence[float] = PRIOR,
        knots: Sequence[float] | None = None,
        *,
        outputs: OutputLengths | None = None,
        path: Path | None = None,
    ) -> None:
        """``weights``: those of `PRIOR`, and perhaps that of a token of the longest row.

        ``path`` is where `save` stores the cost; without it nothing is stored.
        """
        self._weights = tuple(weights) if len(weights) > len(PRIOR) else (*weights, NO_STEPS)
        self._knots = list(knots) if knots is not None else [1.0] * KNOTS
        self._outputs = outputs or OutputLengths()
        self._path = path
        self.learned = knots is not None
        self.stretch = 1.0

    def ms(self, rows: int, length: int) -> float:
        """The predicted cost of one run, always positive."""
        low, share = _knot(rows * length)
        correction = self._knots[low] * (1 - share) + self._knots[low + 1] * share
        return self._model(rows, length) * correction

    def length(self, row: Row) -> int:
        """What a row counts in a shape: its own length, and what its step is expected to generate."""
        if row.given is None:
            return row.length
        return row.length + self._outputs.expected(row.length, row.given)

    def observe_outputs(self, rows: Iterable[Row]) -> None:
        """Learn from rows that had a step how long their outputs are.

        An output that was given in part is left out: that part is the caller's.
        """
        for row in rows:
            if row.given == 0:
                self._outputs.observe(row.length, row.made)

    def steps(self, most: float, left: float) -> float:
        """How many of the ``left`` steps a row is expected to take that was said to take ``most`` of them."""
        return left * min(1.0, self._outputs.ratio(most))

    def observe_steps(self, most: float, made: float) -> None:
        """Learn from a row that has ended which share of its steps it took."""
        self._outputs.observe(round(most), round(made), mean=True)

    def observe(self, sample: CostSample) -> None:
        """Move the correction towards the measured ratio; the sample's ``ms`` is stopwatch time."""
        low, share = _knot(sample.rows * sample.length)
        ratio = sample.ms / self._model(sample.rows, sample.length)
        for knot, weight in ((low, 1 - share), (low + 1, share)):
            known = self._knots[knot]
            # One preempted run must not spoil a size: it counts at most as twice the known ratio.
            self._knots[knot] = known + OBSERVE_WEIGHT * weight * (min(ratio, 2 * known) - known)

    def observe_wall(self, sample: CostSample) -> None:
        """Move ``stretch`` towards the measured ratio. ``ms`` is wall time."""
        ratio = sample.ms / self.ms(sample.rows, sample.length)
        self.stretch += STRETCH_WEIGHT * (min(ratio, MAX_STRETCH) - self.stretch)

    def fit(self, samples: Iterable[CostSample], *, generates: bool = False) -> None:
        """Replace weights and correction: a least-squares fit of the relative error.

        ``generates``: the runs generate their outputs, so a token of the longest row has a weight.
        """
        samples = list(samples)
        features = np.array([(1.0, s.rows, s.rows * s.length, s.rows * s.length**2) for s in samples])
        if generates:
            features = np.column_stack([features, [s.length for s in samples]])
        ms = np.array([s.ms for s in samples])
        solved, *_ = np.linalg.lstsq(features / ms[:, None], np.ones(len(samples)), rcond=None)
        weights = [float(w) for w in np.maximum(solved, 1e-7)]
        self._weights = tuple(weights if generates else [*weights, NO_STEPS])
        self._knots = self._fit_knots(samples)
        self.learned = True

    def save(self) -> None:
        """Store the learned cost at its path: a reader sees the old file or the new one, never
        half.

        Does nothing without a path, or if nothing was learned. Raises OSError.
        """
        if self._path is None or not self.learned:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        learned = {"weights": self._weights, "knots": self._knots, "outputs": self._outputs.ratios}
        temporary.write_text(json.dumps(learned))
        temporary.replace(self._path)

    @classmethod
    def load(cls, path: Path) -> "Cost":
        """The cost that an earlier process stored; a new one if the file is missing or invalid."""
        try:
            stored = json.loads(path.read_text())
            weights, knots, outputs = ([float(x) for x in stored[name]] for name in STORED)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return cls(path=path)
        *others, steps = weights or [math.nan]
        complete = len(others) == len(PRIOR) and len(knots) == KNOTS and len(outputs) == OUTPUT_KNOTS
        valid = complete and all(0 < x < math.inf for x in [*others, *knots, steps or 1.0])
        if not valid or not all(0 <= x < math.inf for x in outputs):
            return cls(path=path)
        return cls(weights, knots, outputs=OutputLengths(outputs), path=path)

    def _model(self, rows: int, length: int) -> float:
        call, row, token, pair, step = self._weights
        return call + step * length + rows * (row + length * (token + length * pair))

    def _fit_knots(self, samples: Sequence[CostSample]) -> list[float]:
        """The mean ratio of measured to modeled time, at each knot or at the nearest measured one."""
        ratios: dict[int, list[float]] = {}
        for sample in samples:
            low, share = _knot(sample.rows * sample.length)
            ratios.setdefault(low + round(share), []).append(
                sample.ms / self._model(sample.rows, sample.length)
            )
        known = sorted(ratios)
        means = [float(np.mean(ratios[knot])) for knot in known]
        return [float(x) for x in np.interp(range(KNOTS), known, means)]


def calibrate(
    cost: Cost, measure: Callable[[int, int], CostSample], *, max_length: int, generates: bool = False
) -> None:
    """Fit ``cost`` to runs of shapes up to 1 024 padded tokens; the faster of two runs counts.

    Args:
        measure: runs one batch of about (rows, length) and returns what ran.
        generates: see `Cost.fit`.
    """
    shapes = [
        (rows, length)
        for length in CALIBRATION_LENGTHS
        for rows in CALIBRATION_ROWS
        if length <= max_length and rows * length <= CALIBRATION_TOKENS
    ]
    measure(*shapes[0])  # the first run allocates
    samples = [min(measure(*shape), measure(*shape), key=attrgetter("ms")) for shape in shapes]
    cost.fit(samples, generates=generates)


def _knot(padded_tokens: int) -> tuple[int, float]:
    """The knot below a size, and its distance from there to the next knot, 0 to 1."""
    position = min(2 * math.log2(padded_tokens), KNOTS - 1.001)
    low = int(position)
    return low, position - low
