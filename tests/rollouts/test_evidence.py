"""Bounds that hold at all times at once."""

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.rollouts.evidence import exceeds, log_wealth, lower_bound, upper_bound
from inferstream.pipeline.rollouts.histogram import count_value, quantile_high, quantile_low

counts = st.integers(0, 500)
bounds = st.floats(0.001, 0.999)
alphas = st.floats(0.0001, 0.2)


@given(st.integers(0, 12), bounds, st.floats(0, 1))
def test_the_expected_wealth_is_at_most_the_stake(values: int, bound: float, part: float) -> None:
    """Over all outcomes, at any mean that the hypothesis allows."""
    mean = bound * part
    expected = sum(
        math.comb(values, ones)
        * mean**ones
        * (1 - mean) ** (values - ones)
        * math.exp(log_wealth({1.0: ones, 0.0: values - ones}, bound))
        for ones in range(values + 1)
    )
    assert expected <= 1 + 1e-9


@given(counts, counts, counts, alphas)
def test_the_observed_mean_lies_between_its_bounds(more: int, same: int, less: int, alpha: float) -> None:
    seen = {1.0: more, 0.0: same, -1.0: less}
    mean = (more - less) / max(1, more + same + less)
    assert lower_bound(seen, alpha, -1.0) <= mean + 1e-9 or not any(seen.values())
    assert upper_bound(seen, alpha, -1.0) >= mean - 1e-9
    assert lower_bound(seen, alpha, -1.0) <= upper_bound(seen, alpha, -1.0)


@given(counts, counts, bounds, bounds, alphas)
def test_what_exceeds_a_bound_exceeds_each_lower_one(
    ones: int, zeros: int, one: float, other: float, alpha: float
) -> None:
    low, high = sorted((one, other))
    seen = {1.0: ones, 0.0: zeros}
    assert exceeds(seen, low, alpha) >= exceeds(seen, high, alpha)


def test_no_values_say_nothing() -> None:
    assert lower_bound({}, 0.05) == 0
    assert upper_bound({}, 0.05) == 1
    assert quantile_low({}, 0.5, 0.05) == 0
    assert quantile_high({}, 0.5, 0.05) == math.inf


def test_a_mean_at_its_bound_is_seldom_rejected_although_it_is_looked_at_after_each_value() -> None:
    draws = random.Random(5)
    alpha, alarms = 0.1, 0
    for _ in range(200):
        ones = 0
        for seen in range(1, 400):
            ones += draws.random() < 0.2
            if exceeds({1.0: ones, 0.0: seen - ones}, 0.2, alpha):
                alarms += 1
                break
    assert alarms <= 200 * alpha


@given(st.lists(st.floats(0.001, 1e6), min_size=30, max_size=200), st.sampled_from([0.5, 0.9]))
def test_quantiles_lie_between_their_bounds(values: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for value in values:
        count_value(histogram, value)
    observed = sorted(values)[math.ceil(share * len(values)) - 1]
    assert quantile_low(histogram, share, 0.05) <= observed * (1 + 1e-9)
    assert quantile_high(histogram, share, 0.05) >= observed * (1 - 1e-9)


def test_values_without_end_are_counted() -> None:
    histogram: dict[int, int] = {}
    for value in (0.0, -1.0, 1e-300, 1e300):
        count_value(histogram, value)
    assert sum(histogram.values()) == 4
    assert len(histogram) == 2
