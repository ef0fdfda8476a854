"""The choice of the execution provider and its number of lanes."""

import os

import pytest

from inferstream.pipeline.errors import ProviderUnavailable, UsageError
from inferstream.pipeline.runtime.providers import candidates, choose_provider, default_lanes

ALL = ["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]


@pytest.mark.parametrize(
    ("available", "expected"),
    [(ALL, "tensorrt"), (ALL[:2], "cuda"), (ALL[:1], "cpu"), (["AzureExecutionProvider", *ALL[:1]], "cpu")],
)
def test_the_best_available_provider_is_chosen(available: list[str], expected: str) -> None:
    assert choose_provider(None, available).name == expected


def test_other_providers_are_tried_only_if_none_is_forced() -> None:
    assert [provider.name for provider in candidates(None, ALL)] == ["tensorrt", "cuda", "cpu"]
    assert [provider.name for provider in candidates("cuda", ALL)] == ["cuda"]


def test_a_forced_provider_that_is_missing_is_refused() -> None:
    with pytest.raises(ProviderUnavailable, match="cuda"):
        choose_provider("cuda", ["CPUExecutionProvider"])


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(UsageError, match="tensorrt, cuda, cpu"):
        choose_provider("npu", ALL)


def test_lanes() -> None:
    assert default_lanes("cuda") == 2
    assert 1 <= default_lanes("cpu") <= (os.cpu_count() or 1)
