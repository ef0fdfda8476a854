"""The gate: what misses a threshold is told, nothing that was not measured passes, and force is for ever."""

import math

import msgspec
import pytest

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.models.metrics import (
    Estimate,
    Evaluation,
    Gate,
    Judgement,
    MachineSpeed,
    ServedBy,
)
from inferstream.pipeline.optimize.evaluation.gates import DEFAULTS, THRESHOLDS, judge

HERE = ServedBy("cpu", "a CPU", 1, "1.32.0")
THERE = ServedBy("cpu", "another CPU", 1, "1.32.0")
PLAIN = Evaluation("fitted", "0123456789ab", "minilm-fp32", "ba9876543210", HERE, 100, "ab")


def evaluation(**figures: object) -> Evaluation:
    return msgspec.structs.replace(PLAIN, **figures)


def test_what_keeps_enough_passes_and_what_does_not_is_told_in_a_sentence() -> None:
    assert judge(evaluation(share=Estimate(0.97, 0.9, 1.0)), {"min_share": 0.97}) == Gate(
        {"min_share": 0.97}, passed=True
    )
    gate = judge(evaluation(share=Estimate(0.9699, 0.9, 1.0)), {"min_share": 0.97})
    assert not gate.open
    assert gate.failures == ("It keeps 96.99% of the accuracy of minilm-fp32, and 97.00% are needed.",)


def test_a_share_of_few_rows_may_be_below_by_chance() -> None:
    limits = {"min_share_high": 0.97}
    assert judge(evaluation(share=Estimate(0.9, 0.7, 1.0)), limits).passed
    gate = judge(evaluation(share=Estimate(0.9, 0.88, 0.92)), limits)
    assert gate.failures == (
        "It keeps at most 92.00% of the accuracy of minilm-fp32 (95 % interval), and 97.00% are needed.",
    )


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_figure_that_was_not_measured_misses_every_threshold(name: str) -> None:
    gate = judge(PLAIN, {name: 0.0})
    assert not gate.passed
    assert gate.failures == (f"{name} was not measured.",)


def test_an_original_is_as_good_as_itself() -> None:
    """Else a threshold of what was not measured would close what all else is compared with."""
    original = msgspec.structs.replace(PLAIN, version=PLAIN.original_version)
    assert judge(original, {"max_negation_drop": 0.0, "min_share": 1.1}).passed


def test_a_figure_that_is_no_number_misses_its_threshold() -> None:
    assert not judge(evaluation(cosine_mean=math.nan), {"min_cosine": 0.0}).passed
    assert not judge(evaluation(kl=math.nan), {"max_kl": 1e9}).passed


def test_thresholds_of_what_may_rise_or_fall_are_relative_to_the_original() -> None:
    found = evaluation(
        calibration_error=0.05, original_calibration_error=0.02, out_of_scope=0.7, original_out_of_scope=0.8
    )
    assert judge(found, {"max_calibration_rise": 0.031, "max_out_of_scope_drop": 0.11}).passed
    gate = judge(found, {"max_calibration_rise": 0.02, "max_out_of_scope_drop": 0.05})
    assert gate.failures == (
        "Its calibration error is 3.00% above that of minilm-fp32, and 2.00% are allowed.",
        "It sends 10.00% fewer of the foreign texts to a human than minilm-fp32, and 5.00% are allowed.",
    )


def test_force_opens_a_gate_that_does_not_pass_and_is_not_noted_on_one_that_does() -> None:
    bad, good = evaluation(share=Estimate(0.5, 0.4, 0.6)), evaluation(share=Estimate(0.99, 0.98, 1.0))
    forced = judge(bad, {"min_share": 0.97}, force=True)
    assert (forced.passed, forced.forced, forced.open) == (False, True, True)
    assert judge(good, {"min_share": 0.97}, force=True) == judge(good, {"min_share": 0.97})


def test_force_is_kept_when_the_same_version_is_measured_again() -> None:
    bad, good = evaluation(share=Estimate(0.5, 0.4, 0.6)), evaluation(share=Estimate(0.99, 0.98, 1.0))
    limits = {"min_share": 0.97}
    forced = Judgement(bad, judge(bad, limits, force=True))
    again = Judgement(good, judge(good, limits)).after(forced)
    assert again.gate.passed
    assert again.gate.forced
    other = msgspec.structs.replace(good, version="another")
    assert not Judgement(other, judge(other, limits)).after(forced).gate.forced


def test_speeds_of_other_machines_are_kept_and_those_of_this_one_replaced() -> None:
    def speed(served_by: ServedBy, p50_ms: float) -> MachineSpeed:
        return MachineSpeed(served_by, (1,), (), p50_ms, p50_ms, 1 / p50_ms)

    gate = Gate({}, passed=True)
    older = Judgement(evaluation(speeds=(speed(HERE, 1), speed(THERE, 2))), gate)
    newer = Judgement(evaluation(speeds=(speed(HERE, 3),)), gate).after(older)
    assert [one.p50_ms for one in newer.evaluation.speeds] == [3, 2]
    assert newer.evaluation.speed_on(THERE) == speed(THERE, 2)
    assert newer.evaluation.speed_on(ServedBy("cuda", "a GPU", 1, "1.32.0")) is None


def test_wrong_thresholds_are_named() -> None:
    with pytest.raises(UsageError, match="no threshold 'accuracy'; there are: min_share, "):
        judge(PLAIN, {"accuracy": 0.9})
    with pytest.raises(UsageError, match="min_share must be a number, not nan"):
        judge(PLAIN, {"min_share": math.nan})


def test_the_defaults_are_thresholds() -> None:
    assert all(set(limits) <= set(THRESHOLDS) for limits in DEFAULTS.values())
