"""The cost model learns what shapes cost, follows a device that changes, and is stored."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.cost import KNOTS, PRIOR, Cost, CostSample, calibrate
from inferstream.pipeline.engine.output_lengths import KNOTS as OUTPUT_KNOTS
from inferstream.pipeline.engine.output_lengths import MAX_RATIO, OutputLengths
from inferstream.pipeline.runtime.model import Row

SHAPES = [(rows, length) for rows in (1, 2, 5, 9, 16, 32, 64) for length in (2, 7, 30, 100, 256)]


def linear(rows: int, length: int) -> float:
    return 0.4 + rows * (0.03 + length * (0.011 + length * 0.00004))


def bent(rows: int, length: int) -> float:
    """A device that is half as fast beyond what its cache holds."""
    return linear(rows, length) * (1.0 if rows * length <= 512 else 2.0)


def errors(cost: Cost, truth: "Truth") -> list[float]:
    return [abs(cost.ms(*shape) / truth(*shape) - 1) for shape in SHAPES]


Truth = Callable[[int, int], float]


def ran(truth: Truth) -> Callable[[int, int], CostSample]:
    return lambda rows, length: CostSample(rows, length, truth(rows, length))


def calibrated(truth: Truth, path: Path | None = None, *, generates: bool = False) -> Cost:
    cost = Cost(path=path)
    calibrate(cost, ran(truth), max_length=256, generates=generates)
    return cost


def test_calibration_recovers_a_linear_device() -> None:
    cost = calibrated(linear)
    assert cost.learned
    assert max(errors(cost, linear)) < 0.01


def test_calibration_follows_a_device_that_slows_down() -> None:
    cost = calibrated(bent)
    assert max(errors(cost, bent)) < 0.5
    assert cost.ms(64, 30) / cost.ms(16, 30) > 1.5 * linear(64, 30) / linear(16, 30)


def test_calibration_runs_nothing_longer_than_the_limit_of_the_model() -> None:
    lengths: list[int] = []

    def measure(rows: int, length: int) -> float:
        lengths.append(length)
        return linear(rows, length)

    calibrate(Cost(), ran(measure), max_length=40)
    assert max(lengths) <= 40


def test_the_faster_of_two_runs_counts() -> None:
    runs = 0

    def disturbed(rows: int, length: int) -> float:
        nonlocal runs
        runs += 1
        return linear(rows, length) * (9 if runs % 2 else 1)

    assert max(errors(calibrated(disturbed), linear)) < 0.01


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_observing_follows_a_device_that_changes(factor: float) -> None:
    cost = calibrated(linear)
    for _ in range(300):
        for rows, length in SHAPES:
            cost.observe(CostSample(rows, length, linear(rows, length) * factor))
    assert max(errors(cost, lambda rows, length: linear(rows, length) * factor)) < 0.02


@pytest.mark.parametrize("shape", SHAPES)
def test_one_preempted_run_changes_a_shape_little(shape: tuple[int, int]) -> None:
    cost = calibrated(linear)
    before = cost.ms(*shape)
    cost.observe(CostSample(*shape, ms=10_000.0))
    assert before <= cost.ms(*shape) < before * 1.06


@given(
    rows=st.integers(1, 100_000),
    length=st.integers(1, 100_000),
    seen=st.lists(
        st.builds(CostSample, st.integers(1, 1_000), st.integers(1, 5_000), st.floats(1e-3, 1e9)), max_size=30
    ),
    fitted=st.booleans(),
)
def test_a_prediction_is_positive_and_finite(
    rows: int, length: int, seen: list[CostSample], fitted: bool
) -> None:
    cost = Cost()
    if fitted and seen:
        cost.fit(seen)
    for sample in seen:
        cost.observe(sample)
    assert 0 < cost.ms(rows, length) < math.inf


def test_a_learned_cost_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "costs" / "a.json"
    cost = calibrated(bent, path)
    cost.save()
    cost.save()  # over the old one
    loaded = Cost.load(path)
    assert loaded.learned
    assert [loaded.ms(*shape) for shape in SHAPES] == [cost.ms(*shape) for shape in SHAPES]
    assert [found.name for found in path.parent.iterdir()] == ["a.json"], "no temporary file is left"


GOOD = {"weights": [*PRIOR, 0.0], "knots": [1.0] * KNOTS, "outputs": [1.0] * OUTPUT_KNOTS}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe",
        json.dumps(GOOD).encode()[:-20],
        b"[]",
        b"7",
        b"null",
        b"[" * 100_000,
        b'{"weights": [1, 1, 1, 1]}',
        json.dumps(GOOD | {"weights": []}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, 1]}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, -1, 0]}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, 0, 0]}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, 1, -1]}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, math.inf, 0]}).encode(),
        json.dumps(GOOD | {"weights": [10**400, 1, 1, 1, 0]}).encode(),
        json.dumps(GOOD | {"weights": "11111"}).encode()[:-1],
        json.dumps(GOOD | {"outputs": [1.0] * (OUTPUT_KNOTS - 1)}).encode(),
        json.dumps(GOOD | {"outputs": [-1.0] * OUTPUT_KNOTS}).encode(),
        json.dumps(GOOD | {"outputs": [math.nan] * OUTPUT_KNOTS}).encode(),
        json.dumps(GOOD | {"knots": [1.0] * (KNOTS - 1)}).encode(),
        json.dumps(GOOD | {"knots": [math.nan] * KNOTS}).encode(),
        json.dumps(GOOD | {"knots": [0.0] * KNOTS}).encode(),
        json.dumps(GOOD | {"knots": [None] * KNOTS}).encode(),
    ],
)
def test_a_broken_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    cost = Cost.load(path)
    assert not cost.learned
    assert cost.ms(4, 30) == Cost().ms(4, 30)


def test_a_missing_file_and_a_folder_in_its_place_are_ignored(tmp_path: Path) -> None:
    assert not Cost.load(tmp_path / "none.json").learned
    assert not Cost.load(tmp_path).learned


def decoder(rows: int, length: int) -> float:
    """A device that generates: a step for all rows costs much, a row in it little."""
    return 1.2 + 0.05 * length + rows * (0.04 + 0.02 * length)


def test_a_token_of_the_longest_row_has_a_cost_where_outputs_are_generated() -> None:
    assert max(errors(calibrated(decoder, generates=True), decoder)) < 0.01
    assert calibrated(linear)._weights[-1] == 0, "and none elsewhere"


def generated(length: int, given: int = 0, made: int = 0) -> Row:
    row = Row([0] * length)
    row.given = given
    row.made = made
    return row


def test_the_length_of_a_row_is_what_it_reads_and_what_it_is_expected_to_generate() -> None:
    cost = Cost()
    assert cost.length(Row([0] * 20)) == 20, "an encoder generates nothing"
    for _ in range(500):
        cost.observe_outputs([generated(20, made=30), generated(4, made=4)])
    assert cost.length(generated(20)) == 50
    assert cost.length(generated(4)) == 8
    assert cost.length(generated(20, given=25)) == 25, "what is given is not generated again"
    assert cost.length(generated(20, given=30)) == cost.length(generated(20, given=900)) == 21, (
        "one step at least"
    )


def test_what_is_given_teaches_no_length() -> None:
    cost = Cost()
    before = cost.length(generated(20))
    for _ in range(500):
        cost.observe_outputs([generated(20, given=19, made=1), Row([0] * 20)])
    assert cost.length(generated(20)) == before


def test_an_output_that_does_not_end_changes_the_expected_lengths_little() -> None:
    cost = Cost()
    before = cost.length(generated(20))
    cost.observe_outputs([generated(20, made=1_000_000)])
    assert before <= cost.length(generated(20)) <= before + 2


@given(
    seen=st.lists(st.tuples(st.integers(0, 10**6), st.integers(-5, 10**9)), max_size=30),
    length=st.integers(0, 10**6),
    given_tokens=st.integers(0, 10**6),
)
def test_an_expected_length_is_at_least_one_and_bounded(
    seen: list[tuple[int, int]], length: int, given_tokens: int
) -> None:
    outputs = OutputLengths()
    for input_length, made in seen:
        outputs.observe(input_length, made)
    assert 1 <= outputs.expected(length, given_tokens) <= max(1, MAX_RATIO * length)


def test_learned_lengths_survive_a_restart(tmp_path: Path) -> None:
    cost = calibrated(decoder, tmp_path / "a.json", generates=True)
    for _ in range(100):
        cost.observe_outputs([generated(16, made=30)])
    cost.save()
    loaded = Cost.load(tmp_path / "a.json")
    assert loaded.learned
    assert loaded.length(generated(16)) == cost.length(generated(16)) > 40
    assert loaded.ms(3, 40) == cost.ms(3, 40)
