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


def test_a_graph_runs_where_it_is_made_for() -> None:
    assert [provider.name for provider in candidates(None, ALL, "cuda")] == ["cuda"], "nothing else is opened"
    assert [provider.name for provider in candidates(None, ALL, "cpu")] == ["cpu"]
    assert [provider.name for provider in candidates("cuda", ALL, "cuda")] == ["cuda"]


SENTENCES = {
    (
        "cuda",
        "cuda",
    ): "cuda was requested and is not usable here; install .* or use the model's variant",
    (None, "cuda"): "made for the execution provider cuda, which is not usable here; install the extra `gpu`",
    (
        "cpu",
        "cuda",
    ): "made for cuda, and cpu was requested: request cuda, or use the model's variant for a CPU",
    (
        "cuda",
        "cpu",
    ): "cuda was requested and is not usable here; install the extra `gpu` .* or leave the provider out",
}


@pytest.mark.parametrize(("forced", "made_for"), SENTENCES)
def test_a_graph_for_a_gpu_without_one_is_one_sentence(forced: str | None, made_for: str) -> None:
    with pytest.raises(ProviderUnavailable, match=SENTENCES[forced, made_for]) as told:
        candidates(forced, ["CPUExecutionProvider"], made_for)
    assert str(told.value).count(". ") == 0


def test_a_graph_for_a_cpu_names_the_variants_for_a_gpu() -> None:
    with pytest.raises(
        ProviderUnavailable, match="on cuda use its fp32 variant, or fp16 of a language model"
    ):
        candidates("cuda", ALL, "cpu")


def test_lanes() -> None:
    assert default_lanes("cuda") == 2
    assert 1 <= default_lanes("cpu") <= (os.cpu_count() or 1)
