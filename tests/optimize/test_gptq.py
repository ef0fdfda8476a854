"""Rounding of weights for the inputs of a layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstream.pipeline.graphs.bert.int8 import to_nearest
from inferstream.pipeline.optimize.gptq import BLOCK_ROWS, DAMPING, quantize_by_gram


def layer(seed: int, width: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated inputs, as in a trained encoder, and a weight for them."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(4 * width, rank)) @ rng.normal(size=(rank, width))
    inputs += 0.3 * rng.normal(size=inputs.shape)
    return inputs, rng.normal(size=(width, 24)).astype(np.float32)


def error(inputs: np.ndarray, weight: np.ndarray, values: np.ndarray, scales: np.ndarray) -> float:
    return float(np.square(inputs @ (values * scales - weight)).sum())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([16, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS]))
def test_the_output_error_is_smaller_than_with_rounding_to_nearest(seed: int, width: int) -> None:
    inputs, weight = layer(seed, width, width // 4)
    values, scales = quantize_by_gram(weight, inputs.T @ inputs)
    nearest, nearest_scales = to_nearest("layer", weight)
    np.testing.assert_array_equal(scales, nearest_scales)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= 127
    assert error(inputs, weight, values, scales) < 0.7 * error(inputs, weight, nearest, scales)


def test_blocks_give_the_result_of_the_row_by_row_formula() -> None:
    """The definition: after each row, a least-squares fit over all later rows."""
    inputs, weight = layer(1, BLOCK_ROWS + 16, 20)
    gram = inputs.T @ inputs
    values, scales = quantize_by_gram(weight, gram)
    damped = gram + DAMPING * gram.diagonal().mean() * np.eye(len(gram))
    free, left = list(np.argsort(-gram.diagonal())), (weight / scales).astype(np.float64)
    expected = np.empty(weight.shape)
    while free:
        row, *free = free
        expected[row] = np.clip(np.round(left[row]), -127, 127)
        if free:
            pull = np.linalg.solve(damped[np.ix_(free, free)], damped[free, row])
            left[free] += np.outer(pull, left[row] - expected[row])
    assert np.mean(values != expected) < 0.01, "float32 may decide a tie otherwise"


@pytest.mark.parametrize("gram", [np.eye(8), np.zeros((8, 8))], ids=["independent", "never seen"])
def test_uncorrelated_inputs_give_rounding_to_nearest(gram: np.ndarray) -> None:
    _, weight = layer(3, 8, 2)
    values, _ = quantize_by_gram(weight, gram)
    np.testing.assert_array_equal(values, to_nearest("layer", weight)[0])
