"""Which layers stay in float32: the fewest in the order of their worth."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.models.manifest import Agreement
from inferstream.pipeline.optimize.compression.sensitivity import Goal, mixed_precision

ERRORS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.integers(1, 100), min_size=1, max_size=8
)


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def encoder(errors: dict[str, int]) -> "tuple[dict[str, int], Measured]":
    """Layers that cost the same, whose errors add up; the cosine is 1 without them."""
    return dict.fromkeys(errors, 10), Measured(errors)


class Measured:
    def __init__(self, errors: dict[str, int]) -> None:
        self.errors = errors

    def __call__(self, kept: Sequence[str]) -> Agreement:
        left = sum(error for name, error in self.errors.items() if name not in kept)
        return Agreement(1 - left / 1e5, 0.0, 1 - left / 1e5, 100, "")


@given(ERRORS, st.integers(0, 800))
def test_the_fewest_layers_are_kept_with_which_the_goal_is_reached(errors: dict[str, int], left: int) -> None:
    costs, measured = encoder(errors)
    mix = mixed_precision(costs, Goal(1 - left / 1e5, 0.5, 1.0), measured, quiet)
    assert mix.agreement.cosine_mean >= 1 - left / 1e5
    largest = sorted(errors.values(), reverse=True)
    fewest = next(count for count in range(len(largest) + 1) if sum(largest[count:]) <= left)
    assert len(mix.kept) == fewest
    assert mix.share == pytest.approx(fewest / len(errors))


def test_a_cheap_layer_is_kept_before_a_costly_one_of_the_same_error() -> None:
    mix = mixed_precision(
        {"costly": 90, "cheap": 10}, Goal(0.9999, 0.5, 0.5), Measured({"costly": 10, "cheap": 10}), quiet
    )
    assert mix.kept == ("cheap",)


def test_a_goal_that_the_budget_does_not_reach_is_told() -> None:
    costs, measured = encoder({"a": 10, "b": 10, "c": 10})
    with pytest.raises(
        ModelError, match=r"With 40% of the multiplications in float32 the cosine is 0\.9998 and"
    ):
        mixed_precision(costs, Goal(0.99999, 0.5, 0.4), measured, quiet)
    with pytest.raises(ModelError, match="raise the budget"):
        mixed_precision(costs, Goal(0.99999, 0.5, 0.1), measured, quiet)
