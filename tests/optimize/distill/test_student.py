"""What a distilled encoder begins with, and which of its layers learn from which: none of it needs torch."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from support.tiny_model import LAYERS, write_tiny_model

from inferstream.pipeline.errors import UsageError
from inferstream.pipeline.graphs.bert.files import check_weights, read_config, read_weights
from inferstream.pipeline.optimize.compression.bert_layers import EncoderWeights
from inferstream.pipeline.optimize.distill.student import compared_layers, size_of_layers, with_layers
from inferstream.pipeline.optimize.distill.targets import SIZE, batches, windows_of
from inferstream.pipeline.optimize.recipes.plan import plan_of
from inferstream.pipeline.optimize.recipes.recipe import DistillStep, PruneStep, Recipe
from inferstream.pipeline.runtime.tokenizer import Tokenizer


@pytest.fixture
def tiny(tmp_path: Path) -> EncoderWeights:
    folder = write_tiny_model(tmp_path / "tiny")
    config = read_config(folder / "config.json")
    return EncoderWeights(config, read_weights(folder / "model.safetensors", config))


def test_a_student_of_fewer_layers_is_a_whole_encoder(tiny: EncoderWeights) -> None:
    student = with_layers(tiny, 1)
    check_weights(student.config, student.weights, Path("student"))
    last = f"encoder.layer.{LAYERS - 1}.output.dense.weight"
    assert (student.weights["encoder.layer.0.output.dense.weight"] == tiny.weights[last]).all()
    assert size_of_layers(student) * LAYERS == size_of_layers(tiny)
    assert with_layers(tiny, LAYERS).weights.keys() == tiny.weights.keys()


@pytest.mark.parametrize(
    ("student", "original", "pairs"),
    [
        (6, 6, [(1, 1), (3, 3), (5, 5)]),
        (3, 6, [(0, 1), (1, 3), (2, 5)]),
        (2, 6, [(0, 2), (1, 5)]),
        (1, 6, [(0, 5)]),
        (4, 12, [(0, 2), (2, 8), (3, 11)]),
    ],
)
def test_layers_learn_from_those_as_deep(student: int, original: int, pairs: list[tuple[int, int]]) -> None:
    assert compared_layers(student, original) == pairs


def test_texts_are_read_as_they_are_and_mangled_and_not_more_than_fit(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    tokenizer = Tokenizer(folder / "tokenizer.json", 48, 0)
    texts = [f"my card is late {number}" for number in range(20)]
    everything = windows_of(texts, tokenizer, 10**9)
    assert windows_of(texts, tokenizer, 10**9) == everything, "the same each time"
    sample = len(everything) - 2 * len(texts)
    assert sample > 200
    whole = [list(window) for windows in tokenizer.encode(texts) for window in windows]
    assert everything[sample::2] == whole
    assert all(a != b for a, b in zip(everything[sample + 1 :: 2], whole, strict=True))
    few = windows_of(texts, tokenizer, 100)
    assert few == everything[: len(few)]
    assert 50 < sum(map(len, few)) <= 100


def test_a_batch_has_texts_of_one_length_and_each_text_comes_once() -> None:
    windows = [[0] * length for length in [5] * 100 + [7] * 3 + [9]]
    for draw in (None, np.random.default_rng(0)):
        found = batches(windows, draw)
        assert sorted(np.concatenate(found).tolist()) == list(range(len(windows)))
        assert all(len({len(windows[text]) for text in texts}) == 1 for texts in found)
        assert max(map(len, found)) <= SIZE + SIZE // 2


def test_the_plan_knows_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Recipe(step=(DistillStep(of="minilm-pruned60"), PruneStep()))
    monkeypatch.setattr("inferstream.pipeline.optimize.derived.distilled.find_spec", lambda name: object())
    assert [one.name for one in plan_of(steps)] == ["minilm", "minilm-pruned60", "minilm-pruned60-distilled"]
    monkeypatch.undo()
    if importlib.util.find_spec("torch") is None:
        with pytest.raises(UsageError, match=r"trains with torch: run pip install '.\[optimize\]'"):
            plan_of(steps)
