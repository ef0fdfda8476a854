"""Pruned encoders: what is kept, what the graphs compute, and what is removed first."""

from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support.numpy_bert import encode
from support.tiny_families import write_tiny
from support.tiny_model import HEADS, LAYERS, VOCABULARY, WIDE, tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.graphs.bert.families import bias_of
from inferstream.pipeline.graphs.bert.files import check_weights, read_config, read_weights
from inferstream.pipeline.graphs.bert.float32 import BertConfig, BertEncoder
from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.optimize.compression.calibration import chunks_of
from inferstream.pipeline.optimize.compression.output_fit import OutputFit
from inferstream.pipeline.optimize.compression.pruning import Kept, PrunedEncoder, kept_of, prune
from inferstream.pipeline.runtime.encoder import collate
from inferstream.pipeline.runtime.sessions import Session

RNG = np.random.default_rng(1)
WINDOWS = [RNG.integers(4, len(VOCABULARY), size).tolist() for size in RNG.integers(3, 20, 80)]
ALL = Kept(HEADS, WIDE)


def _config(tmp_path: Path) -> BertConfig:
    return read_config(write_tiny_model(tmp_path) / "config.json")


def _pruned(config: BertConfig, kept: Kept, seed: int = 0) -> PrunedEncoder:
    return prune(config, tiny_weights(seed), chunks_of(WINDOWS), kept, lambda layer, layers: None)


def test_with_all_heads_and_units_the_encoder_stays_what_it_was(tmp_path: Path) -> None:
    config = _config(tmp_path)
    found = _pruned(config, ALL)
    assert found.errors[-1] < 0.05, "least squares with a little damping"
    for window in WINDOWS[:5]:
        before = encode(tiny_weights(), window, HEADS, LAYERS)
        assert before @ encode(found.weights, window, HEADS, LAYERS) > 0.999


@pytest.mark.parametrize("kept", [Kept(2, 24), Kept(1, 8), Kept(3, WIDE)])
def test_the_graph_of_a_pruned_encoder_gives_the_vectors_of_the_formulas(tmp_path: Path, kept: Kept) -> None:
    found = _pruned(_config(tmp_path), kept)
    check_weights(found.config, found.weights, tmp_path)
    write_model(BertEncoder(found.config, found.weights, "mean").model(), tmp_path / "pruned.onnx")
    vectors = Session(tmp_path / "pruned.onnx", provider="cpu").run(collate(WINDOWS[:6], 0))[0]
    for window, vector in zip(WINDOWS[:6], vectors, strict=True):
        np.testing.assert_allclose(vector, encode(found.weights, window, kept.heads, LAYERS), atol=1e-5)


def test_an_encoder_with_scores_by_distance_is_pruned_with_them(tmp_path: Path) -> None:
    """The heads that stay have their own biases, and the pruned encoder is written as a BERT."""
    config = read_config(write_tiny(tmp_path, "mpnet") / "config.json")
    weights = read_weights(tmp_path / "model.safetensors", config)
    windows = [list(range(4, 4 + length)) for length in (5, 9, 30, 17)] * 8
    whole = prune(config, weights, chunks_of(windows), Kept(4, 48), lambda *_: None)
    assert max(whole.errors) < 0.3
    pruned = prune(config, weights, chunks_of(windows), Kept(2, 48), lambda *_: None)
    save_file(pruned.weights, tmp_path / "pruned.safetensors")
    settings = msgspec.structs.replace(pruned.config, model_type="bert", architectures=None)
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(settings))
    again = read_config(tmp_path / "config.json")
    found = read_weights(tmp_path / "pruned.safetensors", again)
    check_weights(again, found, tmp_path / "pruned.safetensors")
    for layer in range(2):
        bias = weights[bias_of(f"encoder.layer.{layer}.")]
        left = found[bias_of(f"encoder.layer.{layer}.")]
        assert left.shape == (32, 2)
        assert {column.tobytes() for column in left.T} <= {column.tobytes() for column in bias.T}
    graph = Session(BertEncoder(again, found, "mean").model().SerializeToString(), provider="cpu")
    before = Session(BertEncoder(config, weights, "mean").model().SerializeToString(), provider="cpu")
    feeds = collate(windows[:4], 1)
    assert np.sum(graph.run(feeds)[0] * before.run(feeds)[0], axis=1).min() > 0.8


def test_the_fit_is_better_than_cutting_alone(tmp_path: Path) -> None:
    """The same heads and units without new output matrices are further from the original."""
    config = _config(tmp_path)
    found = _pruned(config, Kept(2, 32))
    fitted = [encode(found.weights, window, 2, LAYERS) for window in WINDOWS]
    before = [encode(tiny_weights(), window, HEADS, LAYERS) for window in WINDOWS]
    cut = {**found.weights}
    for name in found.weights:
        if name.endswith(("attention.output.dense.weight", "output.dense.weight")):
            inputs = name.replace("attention.output.dense", "attention.self.value").replace(
                ".output.dense", ".intermediate.dense"
            )
            cut[name] = tiny_weights()[name][:, _kept_rows(tiny_weights()[inputs], found.weights[inputs])]
            cut[name.replace(".weight", ".bias")] = tiny_weights()[name.replace(".weight", ".bias")]
    merely_cut = [encode(cut, window, 2, LAYERS) for window in WINDOWS]
    assert _cosine(fitted, before) > _cosine(merely_cut, before) + 0.01


def _kept_rows(before: np.ndarray, after: np.ndarray) -> list[int]:
    return [int(np.abs(before - row).sum(axis=1).argmin()) for row in after]


def _cosine(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    return float(np.mean([one @ other for one, other in zip(found, wanted, strict=True)]))


@given(seed=st.integers(0, 999), kept=st.integers(1, 5))
def test_what_has_no_part_in_the_output_goes_first(seed: int, kept: int) -> None:
    """Six groups of two inputs; the output depends on ``kept`` of them: these stay, with their weights."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(400, 12))
    chosen = np.sort(rng.permutation(6)[:kept])
    weight = np.zeros((12, 3))
    inputs = list(chain.from_iterable((2 * group, 2 * group + 1) for group in chosen.tolist()))
    weight[inputs] = rng.normal(1, 0.3, (2 * kept, 3)) * rng.choice([-1, 1], (2 * kept, 3))
    fit = OutputFit(12, 3)
    fit.add(states[:150], states[:150] @ weight + 2)
    fit.add(states[150:], states[150:] @ weight + 2)
    found = fit.keep(kept, 2, stages=6 - kept)
    assert found.kept.tolist() == inputs
    np.testing.assert_allclose(found.weight, weight[inputs], atol=0.1)
    np.testing.assert_allclose(found.bias, 2, atol=0.1)


def test_a_copy_of_an_input_is_removed_and_the_other_takes_its_weight() -> None:
    states = np.random.default_rng(0).normal(size=(300, 3))
    doubled = np.concatenate([states, states[:, :1]], axis=1)
    fit = OutputFit(4, 1)
    fit.add(doubled, states.sum(axis=1, keepdims=True) + doubled[:, 3:])
    found = fit.keep(3, 1, stages=1)
    assert sorted(found.kept.tolist()) in ([0, 1, 2], [1, 2, 3])
    assert max(found.weight[:, 0]) == pytest.approx(2, abs=0.1)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    fit = OutputFit(4, 2)
    fit.add(np.zeros((10, 4)), np.ones((10, 2)))
    found = fit.keep(2, 1, stages=2)
    np.testing.assert_allclose(found.bias, 1)
    assert np.isfinite(found.weight).all()


@pytest.mark.parametrize(("share", "kept"), [(0.6, Kept(2, 64)), (0.01, Kept(4, 64)), (0.99, Kept(1, 64))])
def test_a_share_leaves_at_least_one_head_and_a_block_of_units(
    tmp_path: Path, share: float, kept: Kept
) -> None:
    assert kept_of(_config(tmp_path), share) == kept


def test_weights_that_overflow_are_refused(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["encoder.layer.0.intermediate.dense.weight"] = np.full_like(
        weights["encoder.layer.0.intermediate.dense.weight"], 1e300, np.float64
    )
    with pytest.raises(ModelError, match="not finite"):
        prune(_config(tmp_path), weights, chunks_of(WINDOWS), Kept(2, 32), lambda layer, layers: None)
