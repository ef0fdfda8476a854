"""Risk control: the share of changed answers is kept in at least 95 of 100 worlds, although its threshold is chosen on
the same rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.optimize.triage.cascade.risk import NEVER, most_changed, sure_from, upper_bound

WORLDS = 2_000


def broken_and_mean(rows: int, limit: float, bound: str, difficulty: float) -> tuple[float, float]:
    """In how many of the worlds more than ``limit`` of all answers change, and the mean share of changed answers.

    In each world the scores are even over 0 to 1, and a row of the score s changes with the probability
    difficulty × (1 - s)², so that above the threshold t the share difficulty × (1 - t)³ / 3 of all changes.
    """
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(WORLDS):
        scores = draw.random(rows)
        changed = draw.random(rows) < difficulty * (1 - scores) ** 2
        sure = min(sure_from(scores, changed, limit, bound), 1.0)  # type: ignore[arg-type]
        shares.append(difficulty * (1 - sure) ** 3 / 3)
    return float(np.mean(np.array(shares) > limit)), float(np.mean(shares))


@pytest.mark.parametrize(("rows", "limit"), [(300, 0.01), (1_000, 0.01), (1_000, 0.05), (3_000, 0.02)])
@pytest.mark.parametrize("difficulty", [0.3, 1.0])
def test_the_promise_is_broken_in_at_most_5_of_100_worlds(rows: int, limit: float, difficulty: float) -> None:
    broken, _ = broken_and_mean(rows, limit, "upper", difficulty)
    assert broken <= 0.05 + 3 * (0.05 * 0.95 / WORLDS) ** 0.5, "three standard errors of the simulation"


@pytest.mark.parametrize(("rows", "limit"), [(200, 0.01), (1_000, 0.01), (1_000, 0.05)])
def test_the_expected_share_is_within_the_limit(rows: int, limit: float) -> None:
    broken, mean = broken_and_mean(rows, limit, "expected", 1.0)
    assert mean <= limit * 1.01
    assert broken > 0.05, "the expectation alone is less than the upper bound"


def test_too_few_rows_answer_nothing() -> None:
    """With no changed row at all 299 rows are needed for a bound of 1 %, and 99 for an expectation of 1 %."""
    for rows, bound, enough in ((298, "upper", False), (299, "upper", True), (98, "expected", False)):
        sure = sure_from(np.full(rows, 0.9), np.zeros(rows, bool), 0.01, bound)  # type: ignore[arg-type]
        assert (sure < NEVER) is enough
    assert sure_from(np.empty(0), np.empty(0, bool), 0.5, "expected") == NEVER


def test_the_upper_bound_is_that_of_the_literature() -> None:
    assert upper_bound(0, 299) == pytest.approx(0.00997, abs=1e-5)
    assert upper_bound(3, 100) == pytest.approx(0.0757, abs=1e-4)
    assert upper_bound(5, 5) == 1.0


@given(st.integers(0, 5_000), st.floats(0, 1))
def test_the_highest_number_of_changed_rows_is_the_highest(rows: int, limit: float) -> None:
    allowed = most_changed(rows, limit, "upper")
    assert allowed < 0 or upper_bound(allowed, rows) <= limit or rows == allowed
    assert limit == 1 or allowed == rows or upper_bound(allowed + 1, rows) > limit


scores = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=200)


@given(scores, st.floats(0, 0.5), st.sampled_from(["upper", "expected"]))
def test_rows_from_the_threshold_on_keep_the_limit_and_the_next_lower_score_would_not(
    rows: list[tuple[int, bool]], limit: float, bound: str
) -> None:
    """Also where many rows have the same score."""
    found = np.array([score / 20 for score, _ in rows])
    changed = np.array([flag for _, flag in rows])
    sure = sure_from(found, changed, limit, bound)  # type: ignore[arg-type]
    allowed = most_changed(len(rows), limit, bound)  # type: ignore[arg-type]
    if sure == NEVER:
        assert allowed < 0
        return
    assert np.sum(changed & (found >= sure)) <= allowed
    below = found[found < sure]
    assert not len(below) or np.sum(changed & (found >= below.max())) > allowed
