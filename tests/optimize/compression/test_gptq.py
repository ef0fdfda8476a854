"""Rounding of weights for the inputs of a layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.calibrated import to_nearest

from inferstream.pipeline.graphs.bert.int8 import PAIR_LIMIT, column_scales, pairs_over_limit
from inferstream.pipeline.optimize.compression.gptq import BLOCK_ROWS, DAMPING, FACTORS, quantize_by_gram


def layer(seed: int, width: int, rank: int, columns: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Correlated inputs, as in a trained encoder and in whole steps, and a weight for them."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(4 * width, rank)) @ rng.normal(size=(rank, width))
    inputs += 0.3 * rng.normal(size=inputs.shape)
    return np.rint(inputs * 1000), rng.normal(size=(width, columns)).astype(np.float32)


def error(inputs: np.ndarray, weight: np.ndarray, values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Of each column."""
    return np.square(inputs @ (values * scales.astype(np.float64) - weight)).sum(axis=0)


def within_limit(weight: np.ndarray) -> np.ndarray:
    """``weight`` with the rows of each pair of opposite signs: rounding never meets the limit."""
    weight[1::2] = -np.copysign(weight[1::2], weight[: len(weight) // 2 * 2 : 2])
    return weight


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([16, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS]))
def test_the_output_error_is_smaller_than_with_rounding_to_nearest(seed: int, width: int) -> None:
    inputs, weight = layer(seed, width, width // 4)
    values, scales = quantize_by_gram(weight, inputs.T @ inputs)
    nearest, nearest_scales = to_nearest("layer", weight)
    found = error(inputs, weight, values, scales).sum()
    assert found < 0.7 * error(inputs, weight, nearest, nearest_scales).sum()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    width=st.sampled_from([1, 2, 7, 16, BLOCK_ROWS + 1, 2 * BLOCK_ROWS]),
    shape=st.sampled_from(["normal", "one sign", "ones", "outliers", "zero"]),
)
def test_every_pair_keeps_the_limit(seed: int, width: int, shape: str) -> None:
    inputs, weight = layer(seed, width, max(1, width // 4))
    rng = np.random.default_rng(seed)
    weight = {
        "normal": weight,
        "one sign": np.abs(weight),
        "ones": np.ones_like(weight),
        "outliers": weight * np.exp2(rng.integers(0, 8, weight.shape)).astype(np.float32),
        "zero": np.zeros_like(weight),
    }[shape]
    values, scales = quantize_by_gram(weight, inputs.T @ inputs)
    assert values.dtype == np.int8
    assert scales.dtype == np.float32
    assert np.abs(values.astype(int)).max() <= 127
    assert pairs_over_limit(values) == 0
    assert np.isfinite(values * scales).all()


def test_the_limit_is_that_of_sums_in_16_bits() -> None:
    for pair, over in (((64, 64), 0), ((127, 1), 0), ((64, 65), 1), ((-64, -65), 1), ((127, -127), 0)):
        values = np.array([[pair[0]], [pair[1]]], np.int8)
        worst = 255 * max(values.clip(0).sum(), -values.clip(None, 0).sum())
        assert pairs_over_limit(values) == over == int(worst > 2**15 - 1)
    assert 255 * PAIR_LIMIT < 2**15 <= 255 * (PAIR_LIMIT + 1)


def test_each_column_has_the_best_scale_of_the_grid() -> None:
    inputs, weight = layer(4, 48, 12)
    weight = np.abs(weight)  # the limit matters in most pairs
    _, scales = quantize_by_gram(weight, inputs.T @ inputs)
    factors = scales / column_scales(weight)
    assert all(min(abs(factor - known) for known in FACTORS) < 1e-5 for factor in factors)
    assert factors.max() > 1.2, "larger scales leave more room"


def test_blocks_give_the_result_of_the_row_by_row_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition: after each row, a least-squares fit over all later rows."""
    monkeypatch.setattr("inferstream.pipeline.optimize.compression.gptq.FACTORS", (1.0,))
    inputs, weight = layer(1, BLOCK_ROWS + 16, 20)
    weight = within_limit(weight)
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
    assert np.mean(values != expected) < 0.02, "corrections are multiples of 1 / UNIT, and pairs have a limit"


@pytest.mark.parametrize("gram", [np.eye(8), np.zeros((8, 8))], ids=["independent", "never seen"])
def test_uncorrelated_inputs_give_rounding_to_nearest(gram: np.ndarray) -> None:
    _, weight = layer(3, 8, 2)
    values, scales = quantize_by_gram(within_limit(weight), gram)
    np.testing.assert_array_equal(values, np.rint(weight / scales))


def test_sums_in_another_order_change_nothing() -> None:
    """BLAS adds in an order of its own on each kind of CPU. Here the order of all inputs and columns changes."""
    inputs, weight = layer(5, 3 * BLOCK_ROWS, 20, columns=600)
    values, scales = quantize_by_gram(weight, inputs.T @ inputs)
    rng = np.random.default_rng(0)
    order = rng.permutation(weight.shape[1])
    shuffled = rng.permutation(inputs)
    again, again_scales = quantize_by_gram(weight[:, order], shuffled.T @ shuffled)
    np.testing.assert_array_equal(again, values[:, order])
    np.testing.assert_array_equal(again_scales, scales[order])
