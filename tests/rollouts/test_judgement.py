"""When a candidate is rolled back: soon if it is worse, and not if it is equal."""

import random
from collections.abc import Callable

import pytest

from inferstream.pipeline.rollouts.figures import RolloutFigures, answer, total
from inferstream.pipeline.rollouts.histogram import count_value
from inferstream.pipeline.rollouts.judgement import agrees_enough, breach
from inferstream.pipeline.rollouts.limits import RolloutLimits

STABLE_S, CANDIDATE_S, LABELED_S = 160, 40, 20
"""Requests of one second: a share of 20 % of 200, of which 10 % have a label."""

LIMITS = RolloutLimits()
Second = Callable[[RolloutFigures, random.Random], None]


def failing(figures: RolloutFigures, draws: random.Random) -> None:
    figures.stable.answered += STABLE_S
    failed = sum(draws.random() < 0.1 for _ in range(CANDIDATE_S))
    figures.candidate.failed += failed
    figures.candidate.answered += CANDIDATE_S - failed


def times(stretch: float) -> Second:
    def second(figures: RolloutFigures, draws: random.Random) -> None:
        for side, number, factor in (
            (figures.stable, STABLE_S, 1.0),
            (figures.candidate, CANDIDATE_S, stretch),
        ):
            for _ in range(number):
                answer(side, factor * 5 * draws.lognormvariate(0, 0.5))

    return second


def costs(figures: RolloutFigures, draws: random.Random) -> None:
    for _ in range(CANDIDATE_S):
        count_value(figures.candidate.cost, 2 * draws.lognormvariate(0, 0.2))
        count_value(figures.stable.cost, draws.lognormvariate(0, 0.2))


def differing(share: float) -> Second:
    def second(figures: RolloutFigures, draws: random.Random) -> None:
        for _ in range(CANDIDATE_S):
            figures.compare(alike=draws.random() >= share)

    return second


def labels(loses: float, both_ways: float) -> Second:
    """The candidate answers this share fewer rightly. ``both_ways``: on this share only it is right."""

    def second(figures: RolloutFigures, draws: random.Random) -> None:
        for _ in range(LABELED_S):
            at = draws.random()
            only_it = at < both_ways
            only_stable = both_ways <= at < 2 * both_ways + loses
            figures.label(stable=not only_it, candidate=not only_stable)

    return second


def seconds_to_breach(second: Second, limit: int, seed: int) -> tuple[str, int]:
    figures, draws = RolloutFigures(), random.Random(seed)
    for number in range(1, limit + 1):
        second(figures, draws)
        if (found := breach(figures, LIMITS)) is not None:
            return found.what, number
    return "none", limit


@pytest.mark.parametrize(
    ("second", "what", "within_s"),
    [
        pytest.param(failing, "error_rate", 30, id="10 % fail"),
        pytest.param(times(3), "latency", 30, id="three times the latency"),
        pytest.param(costs, "latency", 30, id="twice the cost at equal shapes"),
        pytest.param(differing(0.1), "disagreement", 30, id="10 % differ"),
        pytest.param(labels(0.05, 0.005), "accuracy", 60, id="5 points worse"),
    ],
)
def test_a_worse_candidate_is_found_soon(second: Second, what: str, within_s: int) -> None:
    found = [seconds_to_breach(second, within_s, seed) for seed in range(5)]
    assert {name for name, _ in found} == {what}


def test_an_equal_candidate_is_kept() -> None:
    def second(figures: RolloutFigures, draws: random.Random) -> None:
        times(1)(figures, draws)
        differing(0.02)(figures, draws)
        labels(0, 0.02)(figures, draws)

    assert [seconds_to_breach(second, 120, seed) for seed in range(3)] == [("none", 120)] * 3


def test_agreement_is_enough_when_it_is_sure() -> None:
    figures, draws = RolloutFigures(), random.Random(1)
    assert not agrees_enough(figures, LIMITS)
    for _ in range(20):
        differing(0.001)(figures, draws)
    assert agrees_enough(figures, LIMITS)
    figures = RolloutFigures(agreed=9_700, differed=300)
    assert not agrees_enough(figures, LIMITS)


def test_figures_of_workers_add_up() -> None:
    draws = random.Random(3)
    parts = [RolloutFigures() for _ in range(3)]
    whole = RolloutFigures()
    for part in parts:
        for second in (failing, times(1), costs, differing(0.3), labels(0.1, 0.1)):
            state = draws.getstate()
            second(part, draws)
            draws.setstate(state)
            second(whole, draws)
    assert total(parts) == whole
    assert whole.labeled == 3 * LABELED_S


def test_workers_that_end_while_it_runs_end_a_rollout() -> None:
    assert breach(RolloutFigures(crashes=2), LIMITS) is None
    found = breach(total([RolloutFigures(crashes=2), RolloutFigures(crashes=1)]), LIMITS)
    assert found is not None
    assert found.what == "crashes"
