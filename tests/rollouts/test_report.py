"""Whether a candidate is better, worse, or not known to be either."""

import pytest

from inferstream.pipeline.rollouts.figures import RolloutFigures, SideFigures
from inferstream.pipeline.rollouts.limits import RolloutLimits
from inferstream.pipeline.rollouts.report import Bounded, rollout_report


def figures(**labels: int) -> RolloutFigures:
    return RolloutFigures(
        SideFigures(8_000, 2, {32: 8_000}, {0: 4_000}),
        SideFigures(2_000, 1, {30: 2_000}, {-8: 1_000}),
        agreed=1_960,
        differed=40,
        **labels,
    )


@pytest.mark.parametrize(
    ("labels", "verdict"),
    [
        ({}, "not known"),
        ({"both_right": 900, "stable_right": 30, "candidate_right": 32}, "not known"),
        ({"both_right": 900, "stable_right": 5, "candidate_right": 60}, "better"),
        ({"both_right": 9_000, "stable_right": 60, "candidate_right": 10}, "worse"),
        ({"both_right": 900, "stable_right": 90, "candidate_right": 5}, "worse"),
    ],
)
def test_labels_say_which_version_is_better(labels: dict[str, int], verdict: str) -> None:
    report = rollout_report(figures(**labels), RolloutLimits())
    assert report.verdict == verdict
    assert report.labeled == sum(labels.values())


def test_figures_lie_within_their_intervals() -> None:
    report = rollout_report(figures(both_right=100, both_wrong=5), RolloutLimits())
    for one in (report.error_rate, report.latency_p50, report.cost, report.disagreement, report.accuracy):
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
    assert report.disagreement.value == pytest.approx(0.02)
    assert report.cost.value == pytest.approx(0.5**0.5)


def test_without_figures_nothing_is_known() -> None:
    report = rollout_report(RolloutFigures(), RolloutLimits())
    nothing = Bounded(None, None, None)
    assert (report.verdict, report.cost, report.accuracy, report.disagreement) == (
        "not known",
        nothing,
        nothing,
        nothing,
    )


def test_a_candidate_over_a_limit_is_worse_whatever_the_labels_say() -> None:
    bad = figures(both_right=900, candidate_right=60)
    bad.differed = 400
    report = rollout_report(bad, RolloutLimits())
    assert report.verdict == "worse"
    assert "differ" in report.why
