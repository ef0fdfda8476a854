"""A run that does not return is noticed by the number of checks that it lasts, whatever the clock says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.run_limit import PREDICTED_TIMES, TICK_S, RunLimit
from inferstream.pipeline.errors import DeviceLost


def checks_until_lost(limit: RunLimit, most: int = 100_000) -> int:
    for number in range(most):
        try:
            limit.check()
        except DeviceLost:
            return number
    return most


@pytest.mark.parametrize(
    ("floor_s", "predicted_s", "wanted_s"),
    [(60.0, 0.01, 60.0), (60.0, 3.0, 3.0 * PREDICTED_TIMES), (5.0, 0.0, 5.0)],
)
def test_the_bound_is_the_floor_or_a_multiple_of_the_prediction(
    floor_s: float, predicted_s: float, wanted_s: float
) -> None:
    limit = RunLimit(2, floor_s)
    limit.begin(1, 4, 512, predicted_s)
    assert checks_until_lost(limit) == pytest.approx(wanted_s / TICK_S)
    assert limit.exceeded


def test_the_error_says_what_ran_and_what_to_do() -> None:
    limit = RunLimit(1, 3.0)
    limit.begin(0, 4, 512, 0.01)
    for _ in range(3):
        limit.check()
    with pytest.raises(DeviceLost, match=r"4 rows with 512 tokens .* 3 s .*run_timeout_s"):
        limit.check()


@given(st.lists(st.sampled_from(["check", "next", "end"]), max_size=200))
def test_runs_that_return_are_never_at_fault(steps: list[str]) -> None:
    """However many runs follow each other: only checks during one run count."""
    limit = RunLimit(1, 5.0)
    checks = 0
    running = False
    for step in steps:
        if step == "check" and (checks < 4 or not running):
            limit.check()
            checks += 1
        elif step == "next":
            limit.begin(0, 1, 1, 0.0)
            checks, running = 0, True
        elif step == "end":
            limit.end(0)
            checks, running = 0, False
    assert not limit.exceeded


def test_another_lane_that_works_hides_nothing() -> None:
    limit = RunLimit(2, 5.0)
    limit.begin(0, 1, 1, 0.0)
    for _ in range(5):
        limit.begin(1, 1, 1, 0.0)
        limit.check()
    limit.begin(1, 1, 1, 0.0)
    with pytest.raises(DeviceLost):
        limit.check()
