"""The graphs, compared with the formulas and with each other."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.numpy_bert import encode
from support.tiny_model import HEADS, HIDDEN, LAYERS, VOCABULARY, tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError, UsageError
from inferstream.pipeline.graphs.bert.float32 import BertConfig, BertEncoder, read_config, read_weights
from inferstream.pipeline.graphs.bert.int8 import Int8BertEncoder, column_scales, to_nearest
from inferstream.pipeline.graphs.bert.probe import INPUT, BertProbe
from inferstream.pipeline.graphs.builder import GraphBuilder, write_model
from inferstream.pipeline.runtime.sessions import Session

RNG = np.random.default_rng(1)
ROWS = [RNG.integers(4, len(VOCABULARY), size) for size in (3, 11, 7, 30)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> BertConfig:
    return read_config(write_tiny_model(tmp_path_factory.mktemp("tiny")) / "config.json")


def session(model: onnx.ModelProto, folder: Path) -> Session:
    path = folder / "graph.onnx"
    write_model(model, path)
    return Session(path, provider="cpu")


def padded() -> dict[str, np.ndarray]:
    ids = np.zeros((len(ROWS), 32), np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(ROWS):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def test_float32_equals_the_formulas_with_any_padding(config: BertConfig, tmp_path: Path) -> None:
    encoder = session(BertEncoder(config, tiny_weights(), "mean").model(), tmp_path)
    expected = np.array([encode(tiny_weights(), row, HEADS, LAYERS) for row in ROWS])
    (batched,) = encoder.run(padded())
    assert batched.shape == (len(ROWS), HIDDEN)
    np.testing.assert_allclose(batched, expected, atol=1e-5)
    for row, one in zip(ROWS, expected, strict=True):
        (alone,) = encoder.run({"input_ids": row[None], "attention_mask": np.ones((1, len(row)), np.int64)})
        np.testing.assert_allclose(alone[0], one, atol=1e-5)


def test_int8_stays_close_to_float32(config: BertConfig, tmp_path: Path) -> None:
    int8 = session(Int8BertEncoder(config, tiny_weights(), "mean", {}).model(), tmp_path)
    expected = np.array([encode(tiny_weights(), row, HEADS, LAYERS) for row in ROWS])
    cosines = (int8.run(padded())[0] * expected).sum(axis=1)
    assert cosines.min() > 0.995
    assert {node.op_type for node in onnx.load(tmp_path / "graph.onnx").graph.node} >= {
        "QAttention",
        "DynamicQuantizeMatMul",
    }


def test_the_metadata_has_the_device_of_each_graph(config: BertConfig) -> None:
    devices = [
        {entry.key: entry.value for entry in encoder.model().metadata_props}["device"]
        for encoder in (
            BertEncoder(config, tiny_weights(), "mean"),
            Int8BertEncoder(config, tiny_weights(), "mean", {}),
        )
    ]
    assert devices == ["any", "cpu"]


def test_taming_changes_no_result(config: BertConfig, tmp_path: Path) -> None:
    """Dividing channels and multiplying weights cancel out: only the rounding of int8 may differ."""
    scales = {
        f"encoder.layer.{layer}.{name}": np.where(np.arange(width) == 3, 8, 1).astype(np.float32)
        for layer in range(LAYERS)
        for name, width in {"attention.self.query": 32, "intermediate.dense": 32, "output.dense": 64}.items()
    }
    (tamed,) = session(Int8BertEncoder(config, tiny_weights(), "mean", scales).model(), tmp_path).run(
        padded()
    )
    expected = np.array([encode(tiny_weights(), row, HEADS, LAYERS) for row in ROWS])
    assert (tamed * expected).sum(axis=1).min() > 0.98


def test_the_probe_returns_each_input_once_and_the_embedding(config: BertConfig, tmp_path: Path) -> None:
    probe = session(BertProbe(config, tiny_weights(), "mean").model(), tmp_path)
    found = dict(zip(probe.outputs, probe.run(padded()), strict=True))
    np.testing.assert_allclose(
        found["embedding"][0], encode(tiny_weights(), ROWS[0], HEADS, LAYERS), atol=1e-5
    )
    inputs = {name.removesuffix(INPUT): value for name, value in found.items() if name.endswith(INPUT)}
    assert set(inputs) == {
        f"encoder.layer.{layer}.{name}"
        for layer in range(LAYERS)
        for name in ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
    }
    assert inputs["encoder.layer.1.output.dense"].shape == (len(ROWS), 32, 64)
    wide = inputs["encoder.layer.1.output.dense"]
    assert wide.min() == pytest.approx(-0.17, abs=0.01), "what GELU gives, not what goes into it"


def test_the_quantizer_gets_each_tamed_weight_once(config: BertConfig) -> None:
    name, scales = "encoder.layer.0.attention.self.query", np.exp2(np.arange(HIDDEN) % 3).astype(np.float32)
    seen: dict[str, np.ndarray] = {}

    def quantize(layer: str, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen[layer] = weight
        return to_nearest(layer, weight)

    Int8BertEncoder(config, tiny_weights(), "mean", {name: scales}, quantize).model()
    assert len(seen) == 4 * LAYERS
    parts = [tiny_weights()[name.replace("query", part) + ".weight"].T for part in ("query", "key", "value")]
    np.testing.assert_array_equal(seen[name] / scales[:, None], np.concatenate(parts, axis=1))


def test_first_token_pooling(config: BertConfig, tmp_path: Path) -> None:
    (cls,) = session(BertEncoder(config, tiny_weights(), "cls").model(), tmp_path).run(padded())
    (mean,) = session(BertEncoder(config, tiny_weights(), "mean").model(), tmp_path).run(padded())
    np.testing.assert_allclose(np.linalg.norm(cls, axis=1), 1, atol=1e-5)
    assert np.abs(cls - mean).max() > 0.05


def test_the_same_weights_give_the_same_bytes(config: BertConfig, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_model(Int8BertEncoder(config, tiny_weights(), "mean", {}).model(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_columns_keep_their_own_resolution() -> None:
    weight = np.array([[1.0, 0.001, 0.0], [-0.5, 0.0005, 0.0]], np.float32)
    values, scales = to_nearest("layer", weight)
    np.testing.assert_array_equal(scales, column_scales(weight))
    np.testing.assert_allclose(values * scales, weight, atol=0.005 * np.abs(weight).max(axis=0).max())
    assert values[0].tolist() == [127, 127, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("model_type", "roberta"), ("hidden_act", "relu"), ("position_embedding_type", "relative_key")],
)
def test_the_error_names_the_unsupported_setting(tmp_path: Path, field: str, value: str) -> None:
    write_tiny_model(tmp_path, **{field: value})
    with pytest.raises(UsageError, match=f"{field} = '{value}'"):
        read_config(tmp_path / "config.json")


def test_invalid_configs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read"):
        read_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="hidden_size"):
        read_config(tmp_path / "config.json")


def test_incomplete_or_invalid_weights_are_refused(config: BertConfig, tmp_path: Path) -> None:
    lacking = tiny_weights()
    del lacking["encoder.layer.1.output.dense.bias"]
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        BertEncoder(config, lacking, "mean").model()
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="Cannot read the weights"):
        read_weights(tmp_path / "model.safetensors")


def test_the_prefix_of_a_full_model_is_dropped(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"bert.embeddings.LayerNorm.bias": np.zeros(2, np.float32)}, tmp_path / "w.safetensors")
    assert list(read_weights(tmp_path / "w.safetensors")) == ["embeddings.LayerNorm.bias"]


def test_constants_are_shared() -> None:
    graph = GraphBuilder("shared")
    assert graph.ints(0, 1) == graph.ints(0, 1)
    assert graph.number(0.5) == graph.number(0.5)
    assert graph.ints(0) != graph.ints(1)
