"""Variants of an encoder in other numbers, with a tiny encoder."""

import shutil
from pathlib import Path

import pytest
from support.tiny_families import write_tiny
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.models.manifest import ENCODER
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.compression.sensitivity import Goal
from inferstream.pipeline.optimize.derived.quantized import METHODS, quantize_encoder
from inferstream.pipeline.optimize.pull.pulling import pull

GOAL = Goal(0.9, 0.5, 0.3)


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two encoders."""
    folder = tmp_path_factory.mktemp("pulled")
    registry = ModelRegistry(folder / "home")
    pull(registry, "tiny", quiet, write_tiny_model(folder / "tiny"))
    pull(registry, "far", quiet, write_tiny(folder / "mpnet", "mpnet"))
    return folder / "home"


@pytest.fixture
def registry(pulled: Path, tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(Path(shutil.copytree(pulled, tmp_path / "home")))


@pytest.mark.parametrize("method", METHODS)
def test_a_variant_is_a_model_like_any_other(registry: ModelRegistry, method: str) -> None:
    original = registry.load("tiny-fp32")
    made = quantize_encoder(registry, original, method, GOAL, quiet).manifest
    assert made == registry.load(f"tiny-{method}", ENCODER)
    assert made.version != original.version
    assert (made.weights_sha256, made.tokenizer_sha256) == (
        original.weights_sha256,
        original.tokenizer_sha256,
    )
    assert made.agreement is not None
    assert made.agreement.cosine_mean > 0.98
    assert registry.load("tiny").name == "tiny-int8", "the name alone means what it meant"


def test_int8_is_the_one_that_the_pull_has_built(registry: ModelRegistry) -> None:
    pulled = registry.load("tiny-int8")
    registry.manifest_path("tiny", "int8").unlink()
    Path(pulled.graph_path).unlink()
    made = quantize_encoder(registry, registry.load("tiny-fp32"), "int8", GOAL, quiet)
    assert made.manifest == pulled


def test_mixed_says_which_layers_stay(registry: ModelRegistry) -> None:
    original = registry.load("tiny-fp32")
    int8 = registry.load("tiny-int8").agreement
    assert int8
    goal = Goal((1 + int8.cosine_mean) / 2, 0.5, 0.9)
    (note,) = quantize_encoder(registry, original, "mixed", goal, quiet).notes
    assert "stay in float32 (encoder.layer." in note
    with pytest.raises(ModelError, match="raise the budget, or ask for less"):
        quantize_encoder(registry, original, "mixed", goal._replace(budget=0.01), quiet)
    assert registry.load("tiny-mixed").version, "the one before it stays"


def test_a_pull_that_builds_anew_unlists_what_it_removes(registry: ModelRegistry, tmp_path: Path) -> None:
    quantize_encoder(registry, registry.load("tiny-fp32"), "dynamic", GOAL, quiet)
    pull(registry, "tiny", quiet, write_tiny_model(tmp_path / "tiny", seed=1))
    assert [one.name for one in registry.list()] == ["far-fp32", "far-int8", "tiny-fp32", "tiny-int8"]


def test_weights_of_another_model_are_refused(registry: ModelRegistry) -> None:
    original = registry.load("tiny-fp32")
    (registry.folder("tiny") / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="are not those of tiny-fp32: make or pull that model again"):
        quantize_encoder(registry, original, "dynamic", GOAL, quiet)


@pytest.mark.parametrize("method", METHODS)
def test_a_family_whose_attention_knows_distances_is_quantized_too(
    registry: ModelRegistry, method: str
) -> None:
    int8 = registry.load("far-int8").agreement
    assert int8
    goal = Goal((1 + int8.cosine_mean) / 2, 0.5, 0.9)
    made = quantize_encoder(registry, registry.load("far-fp32"), method, goal, quiet).manifest
    assert made.agreement is not None
    assert made.agreement.cosine_mean > 0.98
