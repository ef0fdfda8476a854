"""Intervals: they hold the true value as often as they say, and what both get wrong does not widen a paired one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inferstream.pipeline.models.metrics import Estimate
from inferstream.pipeline.optimize.evaluation.figures.bootstrap import agreeing, kept_share, share_of

TRIALS = 400


def holds(estimate: Estimate, true: float) -> bool:
    return estimate.low <= true <= estimate.high


@pytest.mark.parametrize("accuracy", [0.6, 0.9])
def test_the_interval_of_a_share_holds_the_true_one_in_95_percent_of_samples(accuracy: float) -> None:
    rng = np.random.default_rng(1)
    held = sum(holds(share_of(rng.random(500) < accuracy), accuracy) for _ in range(TRIALS))
    assert 0.91 <= held / TRIALS <= 0.98


def test_the_interval_of_what_is_kept_holds_the_true_share_in_95_percent_of_samples() -> None:
    """The variant loses 6 % of what the original gets right, and wins 10 % of what it gets wrong."""
    rng = np.random.default_rng(2)
    true = (0.9 * 0.94 + 0.1 * 0.1) / 0.9
    held = 0
    for _ in range(TRIALS):
        original = rng.random(800) < 0.9
        variant = np.where(original, rng.random(800) < 0.94, rng.random(800) < 0.1)
        held += holds(kept_share(original, variant), true)
    assert 0.91 <= held / TRIALS <= 0.98


def test_the_drawn_counts_are_those_of_drawn_rows() -> None:
    """The multinomial draw against a bootstrap that draws rows."""
    rng = np.random.default_rng(3)
    original = rng.random(600) < 0.85
    variant = original ^ (rng.random(600) < 0.07)
    rows = rng.integers(0, 600, (4_000, 600))
    shares = variant[rows].sum(axis=1) / original[rows].sum(axis=1)
    low, high = np.percentile(shares, (2.5, 97.5))
    found = kept_share(original, variant)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-3)


def test_paired_intervals_are_narrower_than_the_two_apart() -> None:
    rng = np.random.default_rng(4)
    original = rng.random(500) < 0.7
    variant = original ^ (rng.random(500) < 0.01)
    paired = kept_share(original, variant)
    shuffled = kept_share(original, rng.permutation(variant))
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 3
    assert kept_share(original, original) == Estimate(1.0, 1.0, 1.0)


def test_rows_without_a_difference_do_not_say_that_there_is_none() -> None:
    found = agreeing(np.ones(50, bool))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(1 - 0.0711, abs=1e-3), "the exact interval for 0 of 50"
    assert agreeing(np.zeros(50, bool)).low == 0


@given(arrays(np.bool_, st.integers(1, 60)), st.integers(0, 5))
def test_every_interval_holds_its_value_and_lies_between_0_and_1(hits: np.ndarray, seed: int) -> None:
    for found in (share_of(hits, seed), agreeing(hits)):
        assert 0 <= found.low <= found.value <= found.high <= 1
    assert share_of(hits, seed) == share_of(hits, seed), "equal seeds give equal intervals"


def test_no_row_has_no_share() -> None:
    for of in (share_of, agreeing):
        with pytest.raises(ValueError, match="at least one row"):
            of(np.zeros(0, bool))
