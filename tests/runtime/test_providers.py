"""Which execution provider is chosen, and how many lanes it gets."""

import os
from pathlib import Path

import pytest

from inferstream.pipeline.errors import ProviderUnavailable, UsageError
from inferstream.pipeline.runtime.providers import candidates, choose_provider, default_lanes, usable_cores

ALL = ["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]


@pytest.mark.parametrize(
    ("available", "expected"),
    [(ALL, "tensorrt"), (ALL[:2], "cuda"), (ALL[:1], "cpu"), (["AzureExecutionProvider", *ALL[:1]], "cpu")],
)
def test_the_best_that_is_there(available: list[str], expected: str) -> None:
    assert choose_provider(None, available).name == expected


def test_others_are_tried_only_when_none_was_asked_for() -> None:
    assert [provider.name for provider in candidates(None, ALL)] == ["tensorrt", "cuda", "cpu"]
    assert [provider.name for provider in candidates("cuda", ALL)] == ["cuda"]


def test_asked_for_and_not_there() -> None:
    with pytest.raises(ProviderUnavailable, match="cuda"):
        choose_provider("cuda", ["CPUExecutionProvider"])


def test_a_name_that_none_has() -> None:
    with pytest.raises(UsageError, match="tensorrt, cuda, cpu"):
        choose_provider("npu", ALL)


def test_lanes() -> None:
    assert default_lanes("cuda") == 2
    assert 1 <= default_lanes("cpu") <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)]
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, expected: int | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert usable_cores(file) == (expected or usable_cores(tmp_path / "absent"))
