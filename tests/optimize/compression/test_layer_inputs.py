"""The inputs of the linear layers, compared with the formulas one text at a time."""

from pathlib import Path

import numpy as np
import pytest
from support.numpy_bert import encode
from support.tiny_model import HEADS, HIDDEN, LAYERS, VOCABULARY, tiny_weights, write_tiny_model

from inferstream.pipeline.graphs.bert.files import read_config
from inferstream.pipeline.optimize.compression.layer_inputs import layer_inputs

RNG = np.random.default_rng(1)
WINDOWS = [RNG.integers(4, len(VOCABULARY), size).tolist() for size in (3, 11, 7, 30)]
LAST = f"encoder.layer.{LAYERS - 1}.output.dense"


def test_each_input_comes_once_for_each_chunk(tmp_path: Path) -> None:
    config = read_config(write_tiny_model(tmp_path) / "config.json")
    found = list(layer_inputs(config, tiny_weights(), [WINDOWS[:3], WINDOWS[3:]]))
    names = ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
    expected = [
        f"encoder.layer.{layer}.{name}" for layer in range(LAYERS) for _ in range(2) for name in names
    ]
    assert sorted(name for name, _ in found) == sorted(expected)
    assert {states.shape[0] for _, states in found} == {21, 30}
    wide = np.concatenate([states for name, states in found if name == LAST])
    assert wide.min() == pytest.approx(-0.17, abs=0.01), "what GELU gives, not what goes into it"


def test_they_lead_to_the_vectors_of_the_formulas(tmp_path: Path) -> None:
    """The last layer's input, taken through the last layer by hand, is the text's vector."""
    config = read_config(write_tiny_model(tmp_path) / "config.json")
    w = {name: array.astype(np.float64) for name, array in tiny_weights().items()}
    together = dict(layer_inputs(config, tiny_weights(), [WINDOWS]))
    before = together[LAST.replace("output.dense", "intermediate.dense")]
    states = together[LAST] @ w[LAST + ".weight"].T + w[LAST + ".bias"] + before
    norm = LAST.replace("dense", "LayerNorm")
    centered = states - states.mean(axis=1, keepdims=True)
    states = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + config.layer_norm_eps)
    states = states * w[norm + ".weight"] + w[norm + ".bias"]
    stops = np.cumsum([len(window) for window in WINDOWS])
    for window, stop in zip(WINDOWS, stops, strict=True):
        vector = states[stop - len(window) : stop].mean(axis=0)
        expected = encode(tiny_weights(), window, HEADS, LAYERS)
        np.testing.assert_allclose(vector / np.linalg.norm(vector), expected, atol=1e-6)
    assert states.shape == (sum(map(len, WINDOWS)), HIDDEN)
