"""Encoders that are trained towards their original, with torch and tiny models."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.killed_training import WANTED, rows
from support.recipe_runs import Quiet, run
from support.tiny_families import token_rows, write_tiny
from support.tiny_model import write_tiny_model

from inferstream.pipeline.errors import UnknownModel, UsageError
from inferstream.pipeline.models.metrics import FITTED
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.derived.distilled import CHECKPOINT, Distilling, distill_model
from inferstream.pipeline.optimize.derived.pruned import Pruning, prune_model
from inferstream.pipeline.optimize.derived.smaller import weights_of
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.runtime.sessions import Session

pytestmark = pytest.mark.optimize
quiet = Quiet()


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two encoders, and one of them pruned."""
    folder = tmp_path_factory.mktemp("pulled")
    registry = ModelRegistry(folder / "home")
    pull(registry, "tiny", quiet, write_tiny_model(folder / "tiny"))
    pull(registry, "far", quiet, write_tiny(folder / "mpnet", "mpnet"))
    prune_model(registry, Pruning("tiny", 0.75, "pruned", force=True), rows(), quiet)
    return folder / "home"


@pytest.fixture
def registry(pulled: Path, tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(Path(shutil.copytree(pulled, tmp_path / "home")), judged=False)


def cosine(registry: ModelRegistry, name: str) -> float:
    """The mean cosine to the vectors of the original, of what it was not trained on."""
    found = registry.load(name).judgements[FITTED].evaluation.cosine_mean
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["tiny", "far", "pruned"])
def test_what_is_trained_gives_the_vectors_of_the_graph(registry: ModelRegistry, name: str) -> None:
    import torch

    from inferstream.pipeline.optimize.distill.network import EncoderNetwork, pooled

    manifest = registry.load(f"{name}-fp32")
    encoder = weights_of(manifest)
    network = EncoderNetwork(encoder)
    session = Session(manifest.graph_path, provider="cpu")
    for length in (2, 9, 31):
        ids = np.array(token_rows([length, length])) % encoder.config.vocab_size
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        with torch.no_grad():
            found = pooled(network.states(torch.tensor(ids))[-1], manifest.pooling)
        np.testing.assert_allclose(found.numpy(), session.run(feeds)[0], atol=2e-6)
    assert network.weights().keys() == encoder.weights.keys()


def test_a_pruned_encoder_comes_nearer_to_its_original(registry: ModelRegistry) -> None:
    before = cosine(registry, "pruned-fp32")
    made = distill_model(registry, Distilling("pruned", None, 6, "again", force=True), rows(), quiet)
    assert [one.name for one in made] == ["again-fp32", "again-int8"]
    assert cosine(registry, "again-fp32") > before + (1 - before) / 4
    lineage = registry.load("again-int8").lineage
    assert lineage is not None
    assert (lineage.step, lineage.original, lineage.passes) == ("distill", "tiny-fp32", 6)
    assert lineage.student == f"pruned-fp32 {registry.load('pruned-fp32').version}"
    assert not (registry.folder("again") / CHECKPOINT).exists()


def test_what_was_trained_before_is_not_trained_again(registry: ModelRegistry) -> None:
    said: list[str] = []
    for _ in range(2):
        said.clear()
        made = distill_model(registry, WANTED, rows(), lambda step, done, total: said.append(step))
    assert said == []
    assert made[0].lineage is not None
    assert made[0].lineage.share == 0.5


@pytest.mark.parametrize("texts", [150, 700])
def test_a_training_that_is_killed_goes_on_and_gives_the_same(
    registry: ModelRegistry, pulled: Path, tmp_path: Path, texts: int
) -> None:
    home = registry.root.parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "support.killed_training", str(home), str(texts)]
    killed = subprocess.run(command, env=environment, timeout=200, capture_output=True, text=True)
    assert killed.returncode < 0, killed.stderr
    assert (registry.folder("small") / CHECKPOINT).exists()
    with pytest.raises(UnknownModel):
        registry.load("small-fp32")
    at: list[int] = []
    distill_model(
        registry,
        WANTED,
        rows(),
        lambda step, done, total: at.append(done) if step.startswith("training") else None,
    )
    assert at[0] >= texts - 50
    calm = ModelRegistry(Path(shutil.copytree(pulled, tmp_path / "calm")))
    distill_model(calm, WANTED, rows(), quiet)
    one, other = (weights_of(each.load("small-fp32")).weights for each in (registry, calm))
    for name, weight in one.items():
        np.testing.assert_allclose(weight, other[name], atol=1e-5, err_msg=name)


def test_a_checkpoint_that_is_broken_is_passed_over(registry: ModelRegistry) -> None:
    registry.folder("small").mkdir()
    (registry.folder("small") / CHECKPOINT).write_bytes(b"PK\x03\x04 broken")
    assert len(distill_model(registry, WANTED, rows(), quiet)) == 2


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            Distilling("tiny", None, 1, "small"),
            "tiny-fp32 is an original of 2 layers, there is nothing to train",
        ),
        (Distilling("tiny", 3, 1, "small"), "tiny-fp32 has 2 layers, and not 3"),
        (Distilling("tiny", 1, 1, "minilm"), "minilm cannot be the name of a distilled model"),
        (Distilling("tiny", 1, 1, "far"), "far is the name of another model here"),
    ],
)
def test_what_cannot_be_trained_is_told(registry: ModelRegistry, wanted: Distilling, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        distill_model(registry, wanted, rows(), quiet)
    assert (registry.root / "small").exists() is False


def test_a_recipe_prunes_and_trains(registry: ModelRegistry, tmp_path: Path) -> None:
    lines = [f"{text},{label}" for text, label in zip(rows().texts, rows().labels, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[model]\nname = "tiny"\n[data]\nfile = "rows.csv"\n'
        '[[step]]\nkind = "distill"\nof = "half"\npasses = 2\nforce = true\n'
        '[[step]]\nkind = "prune"\nshare = 0.9\nname = "half"\n'
    )
    home = registry.root.parent
    assert [one.record.kind for one in run(recipe, home)] == ["model", "prune", "distill"]
    assert [one.kept for one in run(recipe, home)] == [True, True, True]
    assert registry.load("half-distilled-int8").precision == "int8"
