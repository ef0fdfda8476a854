"""The percentile is NumPy's, and the interval of a median covers the true one as often as it says."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.lab.statistics import median, median_interval, percentile

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(numbers, st.floats(0, 100))
def test_the_percentile_is_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-9, abs=1e-6)


@given(numbers)
def test_the_ends_are_the_smallest_and_the_largest_value(values: list[float]) -> None:
    assert percentile(values, 0) == min(values)
    assert percentile(values, 100) == max(values)


@given(numbers, st.randoms())
def test_the_order_of_the_values_does_not_matter(values: list[float], rng: random.Random) -> None:
    shuffled = rng.sample(values, len(values))
    assert percentile(shuffled, 90) == percentile(values, 90)
    assert median_interval(shuffled) == median_interval(values)


@given(numbers)
def test_the_interval_holds_the_median_of_the_values(values: list[float]) -> None:
    low, high = median_interval(values)
    assert low <= median(values) <= high


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40))
def test_the_interval_of_inverse_ratios_is_the_inverse_interval(ratios: list[float]) -> None:
    """New ÷ old and old ÷ new say the same."""
    low, high = median_interval(ratios)
    assert median_interval([1 / ratio for ratio in ratios]) == (1 / high, 1 / low)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (10, 2, 9), (12, 3, 10), (15, 4, 12)],
)
def test_the_interval_by_number_of_values(count: int, low: int, high: int) -> None:
    """As in the tables of the sign test."""
    assert median_interval([float(number) for number in range(1, count + 1)]) == (low, high)


@pytest.mark.parametrize("count", [8, 12, 25])
def test_the_interval_covers_the_true_median_at_least_95_times_in_100(count: int) -> None:
    """For a skewed distribution too: the median of exp(N(0, 1)) is 1."""
    rng = random.Random(count)
    intervals = [median_interval([rng.lognormvariate(0, 1) for _ in range(count)]) for _ in range(4_000)]
    covered = sum(low <= 1 <= high for low, high in intervals) / len(intervals)
    assert covered > 0.945  # 0.95 less what chance allows in 4 000 trials


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        percentile([], 50)
    with pytest.raises(ValueError, match="at least one value"):
        median_interval([])
