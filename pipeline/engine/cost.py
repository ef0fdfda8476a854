"""What a batch of a given shape costs on this device, learned while it runs."""

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

PRIOR = (0.2, 0.05, 0.02, 0.00002)
"""Milliseconds: of a call, a row, a padded token, and a token pair of one row (attention), before anything is known."""

KNOTS = 40
"""The correction has two knots for each power of two of the padded tokens, up to 2^19."""

OBSERVE_WEIGHT = 0.05
"""Weight of one new measurement in the correction of its knots."""

CALIBRATION_ROWS = (1, 2, 4, 8, 16, 32)
CALIBRATION_LENGTHS = (8, 16, 32, 64, 128, 256)
CALIBRATION_TOKENS = 1_024


class CostSample(NamedTuple):
    """One measured run: ``rows`` x ``length`` padded tokens took ``ms``."""

    rows: int
    length: int
    ms: float


class Cost:
    """Predicts milliseconds of a (rows, length) batch: a linear model of the shape times a correction by its size.

    The model carries shapes that have never run. The correction, piecewise linear in the logarithm of the padded
    tokens, is what the linear model cannot say: a batch that outgrows a cache costs more for each token. It follows
    the device while it runs. Reads come from several threads; a torn read of one float cannot happen.

    ``stretch`` is how much longer a run takes by the wall clock than by the stopwatch that measures its cost: threads
    that share cores with others wait for them. It is of the moment, so it is not kept.
    """

    def __init__(self, weights: Sequence[float] = PRIOR, knots: Sequence[float] | None = None) -> None:
        self._weights = tuple(weights)
        self._knots = list(knots) if knots is not None else [1.0] * KNOTS
        self.learned = knots is not None
        self.stretch = 1.0

    def ms(self, rows: int, length: int) -> float:
        """The predicted cost of one run, always positive."""
        low, share = _knot(rows * length)
        correction = self._knots[low] * (1 - share) + self._knots[low + 1] * share
        return self._model(rows, length) * correction

    def observe(self, sample: CostSample) -> None:
        """Move the correction near the sample's size towards what was measured."""
        low, share = _knot(sample.rows * sample.length)
        ratio = sample.ms / self._model(sample.rows, sample.length)
        for knot, weight in ((low, 1 - share), (low + 1, share)):
            known = self._knots[knot]
            # One preempted run must not condemn a size: it counts at most as twice what is known.
            self._knots[knot] = known + OBSERVE_WEIGHT * weight * (min(ratio, 2 * known) - known)

    def fit(self, samples: Iterable[CostSample]) -> None:
        """Replace all that is known by a least-squares fit of the relative error over ``samples``."""
        samples = list(samples)
        features = np.array([(1.0, s.rows, s.rows * s.length, s.rows * s.length**2) for s in samples])
        ms = np.array([s.ms for s in samples])
        solved, *_ = np.linalg.lstsq(features / ms[:, None], np.ones(len(samples)), rcond=None)
        self._weights = tuple(float(w) for w in np.maximum(solved, 1e-7))
        self._knots = self._fit_knots(samples)
        self.learned = True

    def save(self, path: Path) -> None:
        """Store what was learned; a reader sees the old file or the new one, never half of it."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"weights": self._weights, "knots": self._knots}))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Cost":
        """What an earlier process learned; a fresh start where the file is missing or unreadable."""
        try:
            stored = json.loads(path.read_text())
            weights, knots = ([float(x) for x in stored[name]] for name in ("weights", "knots"))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return cls()
        sane = len(weights) == len(PRIOR) and len(knots) == KNOTS
        return cls(weights, knots) if sane and all(0 < x < math.inf for x in [*weights, *knots]) else cls()

    def _model(self, rows: int, length: int) -> float:
        call, row, token, pair = self._weights
        return call + rows * (row + length * (token + length * pair))

    def _fit_knots(self, samples: Sequence[CostSample]) -> list[float]:
        """The mean ratio of measured to modeled at each knot; beyond what was measured, that of the nearest."""
        ratios: dict[int, list[float]] = {}
        for sample in samples:
            low, share = _knot(sample.rows * sample.length)
            ratios.setdefault(low + round(share), []).append(
                sample.ms / self._model(sample.rows, sample.length)
            )
        known = sorted(ratios)
        means = [float(np.mean(ratios[knot])) for knot in known]
        return [float(x) for x in np.interp(range(KNOTS), known, means)]


def calibrate(cost: Cost, measure: Callable[[int, int], float], *, max_length: int) -> None:
    """Teach ``cost`` the device by running shapes up to 1 024 padded tokens, each twice; the faster run counts.

    Args:
        measure: runs one batch of (rows, length) and returns its milliseconds.
    """
    shapes = [
        (rows, length)
        for length in CALIBRATION_LENGTHS
        for rows in CALIBRATION_ROWS
        if length <= max_length and rows * length <= CALIBRATION_TOKENS
    ]
    measure(*shapes[0])  # the first run allocates
    cost.fit(
        CostSample(rows, length, min(measure(rows, length), measure(rows, length))) for rows, length in shapes
    )


def _knot(padded_tokens: int) -> tuple[int, float]:
    """The knot below a size, and how far towards the next one it lies."""
    place = min(2 * math.log2(padded_tokens), KNOTS - 1.001)
    low = int(place)
    return low, place - low
