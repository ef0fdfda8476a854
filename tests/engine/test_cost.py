"""The cost model learns what shapes cost, follows a device that changes, and is stored."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstream.pipeline.engine.cost import KNOTS, PRIOR, Cost, CostSample, calibrate

SHAPES = [(rows, length) for rows in (1, 2, 5, 9, 16, 32, 64) for length in (2, 7, 30, 100, 256)]


def linear(rows: int, length: int) -> float:
    return 0.4 + rows * (0.03 + length * (0.011 + length * 0.00004))


def bent(rows: int, length: int) -> float:
    """A device that is half as fast beyond what its cache holds."""
    return linear(rows, length) * (1.0 if rows * length <= 512 else 2.0)


def errors(cost: Cost, truth: Callable[[int, int], float]) -> list[float]:
    return [abs(cost.ms(*shape) / truth(*shape) - 1) for shape in SHAPES]


def calibrated(truth: Callable[[int, int], float], path: Path | None = None) -> Cost:
    cost = Cost(path=path)
    calibrate(cost, truth, max_length=256)
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
    ran: list[tuple[int, int]] = []

    def measure(rows: int, length: int) -> float:
        ran.append((rows, length))
        return linear(rows, length)

    calibrate(Cost(), measure, max_length=40)
    assert max(length for _, length in ran) <= 40


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


GOOD = {"weights": list(PRIOR), "knots": [1.0] * KNOTS}


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
        json.dumps(GOOD | {"weights": [1, 1, 1]}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, -1]}).encode(),
        json.dumps(GOOD | {"weights": [1, 1, 1, math.inf]}).encode(),
        json.dumps(GOOD | {"weights": [10**400, 1, 1, 1]}).encode(),
        json.dumps(GOOD | {"weights": "1111"}).encode()[:-1],
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
