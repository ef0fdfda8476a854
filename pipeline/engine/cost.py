"""What a batch of a given shape costs on this device, learned while it runs."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

PRIOR = (0.2, 0.05, 0.02, 0.00002)
"""Milliseconds: of a call, a row, a padded token, and a token pair of one row (attention), before anything is known."""

FORGET = 0.05
"""Weight of one new measurement in the correction of its cell."""


class Sample(NamedTuple):
    """One measured run: ``rows`` x ``length`` padded tokens took ``ms``."""

    rows: int
    length: int
    ms: float


class Cost:
    """Predicts milliseconds of a (rows, length) batch: a linear model of the shape times a correction of its cell.

    The model carries what has never been run; the correction follows what this device does with shapes it has seen
    (caches, tiles), and drifts with it. Reads come from several threads; a torn read of one float cannot happen.
    """

    def __init__(
        self, weights: Sequence[float] = PRIOR, cells: dict[tuple[int, int], float] | None = None
    ) -> None:
        self._weights = tuple(weights)
        self._cells = dict(cells or {})
        self.learned = cells is not None

    def ms(self, rows: int, length: int) -> float:
        """The predicted cost of one run, always positive."""
        return self._model(rows, length) * self._cells.get(_cell(rows, length), 1.0)

    def observe(self, sample: Sample) -> None:
        """Move the correction of the sample's cell towards what was measured."""
        cell = _cell(sample.rows, sample.length)
        ratio = sample.ms / self._model(sample.rows, sample.length)
        known = self._cells.get(cell, 1.0)
        # One preempted run must not condemn a shape: a single measurement counts at most as twice what is known.
        self._cells[cell] = known + FORGET * (min(ratio, 2 * known) - known)

    def fit(self, samples: Iterable[Sample]) -> None:
        """Replace all that is known by a least-squares fit of the relative error over ``samples``."""
        samples = list(samples)
        features = np.array([_features(s.rows, s.length) for s in samples])
        ms = np.array([s.ms for s in samples])
        solved, *_ = np.linalg.lstsq(features / ms[:, None], np.ones(len(samples)), rcond=None)
        self._weights = tuple(float(w) for w in np.maximum(solved, 1e-7))
        self._cells = {}
        for sample in samples:
            cell = _cell(sample.rows, sample.length)
            self._cells[cell] = sample.ms / self._model(sample.rows, sample.length)
        self.learned = True

    def save(self, path: Path) -> None:
        """Store what was learned; a reader sees the old file or the new one, never half of it."""
        cells = [[rows, length, factor] for (rows, length), factor in self._cells.copy().items()]
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"weights": self._weights, "cells": cells}))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Cost":
        """What an earlier process learned; a fresh start where the file is missing or unreadable."""
        try:
            stored = json.loads(path.read_text())
            weights = [float(w) for w in stored["weights"]]
            cells = {(int(r), int(c)): float(f) for r, c, f in stored["cells"]}
        except (OSError, ValueError, KeyError, TypeError):
            return cls()
        sane = len(weights) == len(PRIOR) and all(
            math.isfinite(x) and x > 0 for x in [*weights, *cells.values()]
        )
        return cls(weights, cells) if sane else cls()

    def _model(self, rows: int, length: int) -> float:
        call, row, token, pair = self._weights
        return call + rows * (row + length * (token + length * pair))


def _features(rows: int, length: int) -> tuple[float, float, float, float]:
    return (1.0, rows, rows * length, rows * length * length)


def _cell(rows: int, length: int) -> tuple[int, int]:
    """Powers of two of the rows, half powers of the length."""
    return rows.bit_length(), round(2 * math.log2(length + 1))
