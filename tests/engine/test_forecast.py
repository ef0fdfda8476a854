"""The forecast follows measured batches and adds up what a new row waits for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.forecast import EXTRA_BATCHES, MAX_RATIO, Forecast


def observed(*, wall_ms: float, solo_ms: float, lanes: int = 1, batches: int = 200) -> Forecast:
    """A forecast after many equal batches."""
    forecast = Forecast(lanes)
    for _ in range(batches):
        forecast.observe(wall_ms, solo_ms)
    return forecast


def test_without_a_batch_the_solo_cost_is_the_prediction() -> None:
    forecast = Forecast(1)
    assert forecast.drain_s(2_000.0) == 2.0
    assert forecast.wait_s(1_500.0, busy=True) == 1.5


@pytest.mark.parametrize("lanes", [1, 4])
def test_batching_shortens_the_backlog_and_lanes_share_it(lanes: int) -> None:
    forecast = observed(wall_ms=40.0, solo_ms=160.0, lanes=lanes)
    assert forecast.drain_s(1_600.0) == pytest.approx(0.4 / lanes)


def test_a_new_row_waits_for_the_running_batch_and_for_its_own() -> None:
    forecast = observed(wall_ms=40.0, solo_ms=160.0)
    assert forecast.wait_s(0.0, busy=False) == 0.0
    assert forecast.wait_s(0.0, busy=True) == pytest.approx(EXTRA_BATCHES * 0.040)
    assert forecast.wait_s(1_600.0, busy=False) == pytest.approx(0.4)


def test_one_batch_of_a_suspended_process_counts_only_so_far() -> None:
    forecast = observed(wall_ms=10.0, solo_ms=10.0)
    forecast.observe(1e9, 10.0)
    assert forecast.drain_s(1_000.0) <= 1.0 + MAX_RATIO * 0.1


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.booleans(), st.floats(0.01, 1e4), st.floats(0, 1e4))
def test_a_wait_is_never_negative_and_never_shorter_for_more_work(
    before_ms: float, more_ms: float, busy: bool, wall_ms: float, solo_ms: float
) -> None:
    forecast = observed(wall_ms=wall_ms, solo_ms=solo_ms, batches=5)
    assert 0 <= forecast.wait_s(before_ms, busy=busy) <= forecast.wait_s(before_ms + more_ms, busy=busy)


def test_one_step_in_which_the_process_was_suspended_does_not_refuse_all_that_come() -> None:
    forecast = Forecast(lanes=1)
    forecast.observe(9_700.0, 10.0, further=True)
    assert forecast.steps_s(240) <= 240 * 10.0 * MAX_RATIO / 1e3
