"""Confidences that mean what they say: the softmax, its temperature, and how well it is calibrated."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

BINS = 15
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 1e-3, 1e2


class Calibration(NamedTuple):
    """How far confidences are from the share of right answers, before and after a temperature was fitted."""

    temperature: float
    error_before: float
    error_after: float


def softmax(logits: Floats) -> Floats:
    """Confidences of shape (rows, labels); each row adds up to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidences: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return confidences


def calibration_error(confidences: Floats, truth: Indices) -> float:
    """Expected calibration error in 15 equal bins (Guo et al. 2017): 0 is perfect, 1 the worst."""
    best = confidences.max(axis=1)
    right = (confidences.argmax(axis=1) == truth).astype(np.float64)
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - best, minlength=BINS)
    return float(np.abs(gaps).sum() / len(truth))


def negative_log_likelihood(logits: Floats, truth: Indices) -> float:
    """Mean of -log(confidence of the true label), in nats."""
    top = logits.max(axis=1)
    log_total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float(np.mean(log_total - logits[np.arange(len(truth)), truth]))


def best_temperature(logits: Floats, truth: Indices) -> float:
    """The temperature at which ``logits / temperature`` make the truth likeliest (Guo et al. 2017).

    The likelihood has one peak over 1 / temperature, so the grid around it is refined three times.
    """
    low, high = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
    best = 0.0
    for _ in range(4):
        grid = np.linspace(low, high, 25)
        losses = [negative_log_likelihood(logits / np.float32(np.exp(value)), truth) for value in grid]
        best = float(grid[int(np.argmin(losses))])
        step = float(grid[1] - grid[0])
        low, high = best - step, best + step
    return float(np.exp(best))
