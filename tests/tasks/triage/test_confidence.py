"""Softmax, the fit of the temperature, and the calibration error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from inferstream.pipeline.tasks.triage.confidence import (
    best_temperature,
    calibration_error,
    negative_log_likelihood,
    softmax,
)


@given(
    arrays(
        np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1), elements=st.floats(-1e4, 1e4, width=32)
    )
)
def test_softmax_adds_up_to_one_and_keeps_the_order(logits: np.ndarray) -> None:
    confidences = softmax(logits)
    np.testing.assert_allclose(confidences.sum(axis=1), 1, atol=1e-5)
    assert (confidences >= 0).all()
    picked = np.take_along_axis(logits, confidences.argmax(axis=1)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(picked, logits.max(axis=1), atol=1e-3)


@pytest.mark.parametrize("true_temperature", [0.04, 0.7, 6.0])
def test_best_temperature_finds_the_true_temperature(true_temperature: float) -> None:
    draw = np.random.default_rng(4)
    logits = draw.normal(size=(4_000, 5)).astype(np.float32) * 3 * np.float32(true_temperature)
    confidences = softmax(logits / np.float32(true_temperature))
    truth = (draw.random((4_000, 1)) > confidences.cumsum(axis=1)).sum(axis=1).clip(max=4)
    found = best_temperature(logits, truth)
    assert found == pytest.approx(true_temperature, rel=0.1)
    assert calibration_error(softmax(logits / np.float32(found)), truth) < 0.03
    assert calibration_error(softmax(logits / np.float32(found * 5)), truth) > 0.1


def test_calibration_error_of_wrong_and_of_right_confidences() -> None:
    truth = np.array([0, 0, 0, 1])
    assert calibration_error(np.tile(np.float32([1, 0]), (4, 1)), truth) == pytest.approx(0.25)
    assert calibration_error(np.tile(np.float32([0.75, 0.25]), (4, 1)), truth) == pytest.approx(0)


def test_negative_log_likelihood_of_two_equal_labels() -> None:
    assert negative_log_likelihood(np.zeros((3, 2), np.float32), np.array([0, 1, 1])) == pytest.approx(
        np.log(2)
    )
