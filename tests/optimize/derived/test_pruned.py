"""`models prune` from end to end, with a tiny encoder and labels that it can and cannot keep."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support.tiny_model import WORDS, write_tiny_model

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.models.metrics import FITTED, Gate
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.derived.pruned import Pruning, prune_model
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.triage.labeled import Labeled

TOPICS = ("card", "refund", "parcel", "login")
HALF = Pruning("tiny", 0.5, "tiny-half")


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    registry = ModelRegistry(tmp_path / "home")
    pull(registry, "tiny", quiet, write_tiny_model(tmp_path / "tiny"))
    return registry


def rows_of_words() -> Labeled:
    """Texts whose label is a word that they have."""
    rng = np.random.default_rng(0)
    others = [word for word in WORDS if word not in TOPICS]
    texts = [" ".join([topic, *rng.permutation(others)[:4]]) for topic in TOPICS for _ in range(25)]
    return Labeled(texts, [text.split()[0] for text in texts], {}, {})


def rows_of_order() -> Labeled:
    """Texts whose label is which of two words comes first: only attention to positions tells them apart."""
    rng = np.random.default_rng(0)
    others = [word for word in WORDS if word not in ("card", "late")]
    texts = []
    for pair in (["card", "late"], ["late", "card"]):
        texts += [" ".join([*pair, *rng.permutation(others)[:5]]) for _ in range(60)]
    return Labeled(texts, [text.split()[0] for text in texts], {}, {})


def test_a_pruned_encoder_is_a_model_like_any_other_and_says_what_it_was_made_from(
    registry: ModelRegistry,
) -> None:
    made = prune_model(registry, HALF, rows_of_words(), quiet)
    assert [one.name for one in made] == ["tiny-half-fp32", "tiny-half-int8"]
    for manifest in made:
        assert registry.load(manifest.name) == manifest
        assert manifest.lineage is not None
        judgement = manifest.judgements[FITTED]
        assert judgement.gate == manifest.gate == Gate({"min_share": 0.97}, passed=True)
        assert (manifest.lineage.original, manifest.lineage.rows) == ("tiny-fp32", 100)
        assert manifest.lineage.original_version == registry.load("tiny-fp32").version
        assert judgement.evaluation.share.value >= 0.97
        assert judgement.evaluation.rows == 20, "a fifth, which nothing was computed on"
    before, after = (Path(registry.load(name).graph_path) for name in ("tiny-fp32", "tiny-half-fp32"))
    assert after.stat().st_size < before.stat().st_size


def test_what_was_made_before_is_not_made_again(registry: ModelRegistry) -> None:
    steps: list[str] = []
    prune_model(registry, HALF, rows_of_words(), quiet)
    prune_model(registry, HALF, rows_of_words(), lambda step, done, total: steps.append(step))
    assert steps == []
    changed = rows_of_words().at(list(range(99)))
    prune_model(registry, HALF, changed, lambda step, done, total: steps.append(step))
    assert "pruning layer 1 of 2" in steps


def test_what_keeps_too_little_accuracy_is_not_published_unless_it_is_forced(registry: ModelRegistry) -> None:
    wanted = Pruning("tiny", 0.9, "tiny-bad")
    with pytest.raises(
        ModelError, match=r"tiny-bad-fp32 is not published. It keeps \d.*97.00% are needed. Remove less"
    ):
        prune_model(registry, wanted, rows_of_order(), quiet)
    assert [one.name for one in registry.list()] == ["tiny-fp32", "tiny-int8"]
    kept = prune_model(registry, replace(wanted, keep_closed=True), rows_of_order(), quiet)
    assert not any(one.judgements[FITTED].gate.open for one in kept)
    with pytest.raises(ModelError, match="did not pass its gate"):
        registry.load("tiny-bad-int8", use=FITTED)
    with pytest.raises(ModelError, match="is not published"):
        prune_model(registry, wanted, rows_of_order(), quiet)
    made = prune_model(registry, Pruning("tiny", 0.9, "tiny-bad", force=True), rows_of_order(), quiet)
    assert all(one.lineage is not None and one.lineage.forced for one in made)
    assert all(one.gate is not None and one.gate.forced for one in made)
    assert registry.load("tiny-bad-int8").name == "tiny-bad-int8", "a worker serves what was forced"


def test_weights_that_a_refused_pruning_left_are_not_taken_for_those_of_the_model(
    registry: ModelRegistry,
) -> None:
    """The older variants stay; their weights have been replaced, so nothing can be made from them."""
    older = prune_model(registry, HALF, rows_of_words(), quiet)
    with pytest.raises(ModelError, match="are needed"):
        prune_model(registry, Pruning("tiny", 0.9, "tiny-half"), rows_of_order(), quiet)
    assert [registry.load(one.name) for one in older] == older
    with pytest.raises(ModelError, match="not those of tiny-half-fp32"):
        prune_model(registry, Pruning("tiny-half", 0.5, "tiny-quarter"), rows_of_words(), quiet)


@pytest.mark.parametrize("name", ["minilm", "other-int8", "Tiny", "tiny"])
def test_names_of_other_models_are_refused(registry: ModelRegistry, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        prune_model(registry, Pruning("tiny", 0.5, name), rows_of_words(), quiet)
    assert [one.name for one in registry.list()] == ["tiny-fp32", "tiny-int8"]


def test_few_rows_are_refused_before_anything_is_made(registry: ModelRegistry) -> None:
    with pytest.raises(UsageError, match="needs at least 5"):
        prune_model(registry, HALF, rows_of_words().at([0, 1, 2, 40, 41, 42]), quiet)
    assert [one.name for one in registry.list()] == ["tiny-fp32", "tiny-int8"]
