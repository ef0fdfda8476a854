"""Confidences: the softmax, the fit of its temperature, and the calibration error."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]

BINS = 15
MIN_TEMPERATURE = 1e-3
MAX_TEMPERATURE = 1e2


def softmax(logits: Floats) -> Floats:
    """Confidences of shape (rows, labels); each row adds up to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidences: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return confidences


def calibration_error(confidences: Floats, truth: Indices) -> float:
    """Expected calibration error in 15 equal bins (Guo et al. 2017), from 0 (perfect) to 1."""
    return calibration_gap(confidences.max(axis=1), confidences.argmax(axis=1) == truth)


def calibration_gap(best: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """The same of the best confidence of each row, and of whether its label is right."""
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - best, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))


def negative_log_likelihood(logits: Floats, truth: Indices) -> float:
    """Mean of -log(confidence of the true label), in nats."""
    top = logits.max(axis=1)
    log_total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float(np.mean(log_total - logits[np.arange(len(truth)), truth]))


def best_temperature(logits: Floats, truth: Indices) -> float:
    """The temperature that gives ``logits / temperature`` the lowest loss (Guo et al. 2017).

    The likelihood has one peak over 1 / temperature, so a grid is refined three times around its
    best point.
    """
    low = np.log(MIN_TEMPERATURE)
    high = np.log(MAX_TEMPERATURE)
    best = 0.0
    for _ in range(4):
        grid = np.linspace(low, high, 25)
        losses = [negative_log_likelihood(logits / np.float32(np.exp(value)), truth) for value in grid]
        best = float(grid[int(np.argmin(losses))])
        step = float(grid[1] - grid[0])
        low = best - step
        high = best + step
    return float(np.exp(best))
