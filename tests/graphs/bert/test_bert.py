"""The graphs, compared with the formulas and with each other."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from support.calibrated import tiny_calibration, tiny_int8, to_nearest
from support.numpy_bert import encode
from support.tiny_model import HEADS, HIDDEN, LAYERS, VOCABULARY, tiny_weights, write_tiny_model

from inferstream.pipeline.errors import ModelError
from inferstream.pipeline.graphs.bert.files import read_config
from inferstream.pipeline.graphs.bert.float32 import BertConfig, BertEncoder
from inferstream.pipeline.graphs.bert.int8 import Calibration, Int8BertEncoder, column_scales
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


def test_int8_stays_close_to_float32(tmp_path: Path) -> None:
    int8 = session(tiny_int8(tmp_path), tmp_path)
    expected = np.array([encode(tiny_weights(), row, HEADS, LAYERS) for row in ROWS])
    cosines = (int8.run(padded())[0] * expected).sum(axis=1)
    assert cosines.min() > 0.995
    assert {node.op_type for node in onnx.load(tmp_path / "graph.onnx").graph.node} >= {
        "QAttention",
        "MatMulIntegerToFloat",
    }


def test_the_metadata_has_the_device_of_each_graph(config: BertConfig, tmp_path: Path) -> None:
    devices = [
        {entry.key: entry.value for entry in model.metadata_props}["device"]
        for model in (BertEncoder(config, tiny_weights(), "mean").model(), tiny_int8(tmp_path))
    ]
    assert devices == ["any", "cpu"]


def test_taming_changes_no_result(config: BertConfig, tmp_path: Path) -> None:
    """Dividing channels and multiplying weights cancel out: only the rounding of int8 may differ."""
    scales = {
        f"encoder.layer.{layer}.{name}": np.where(np.arange(width) == 3, 8, 1).astype(np.float32)
        for layer in range(LAYERS)
        for name, width in {"attention.self.query": 32, "intermediate.dense": 32, "output.dense": 64}.items()
    }
    calibration = Calibration(tiny_calibration(tmp_path).ranges, scales, to_nearest)
    model = Int8BertEncoder(config, tiny_weights(), "mean", calibration).model()
    (tamed,) = session(model, tmp_path).run(padded())
    expected = np.array([encode(tiny_weights(), row, HEADS, LAYERS) for row in ROWS])
    assert (tamed * expected).sum(axis=1).min() > 0.98


def test_the_quantizer_gets_each_tamed_weight_once(config: BertConfig, tmp_path: Path) -> None:
    name, scales = "encoder.layer.0.attention.self.query", np.exp2(np.arange(HIDDEN) % 3).astype(np.float32)
    seen: dict[str, np.ndarray] = {}

    def quantize(layer: str, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen[layer] = weight
        return to_nearest(layer, weight)

    calibration = Calibration(tiny_calibration(tmp_path).ranges, {name: scales}, quantize)
    Int8BertEncoder(config, tiny_weights(), "mean", calibration).model()
    assert len(seen) == 4 * LAYERS
    parts = [tiny_weights()[name.replace("query", part) + ".weight"].T for part in ("query", "key", "value")]
    np.testing.assert_array_equal(seen[name] / scales[:, None], np.concatenate(parts, axis=1))


def test_first_token_pooling(config: BertConfig, tmp_path: Path) -> None:
    (cls,) = session(BertEncoder(config, tiny_weights(), "cls").model(), tmp_path).run(padded())
    (mean,) = session(BertEncoder(config, tiny_weights(), "mean").model(), tmp_path).run(padded())
    np.testing.assert_allclose(np.linalg.norm(cls, axis=1), 1, atol=1e-5)
    assert np.abs(cls - mean).max() > 0.05


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_model(tiny_int8(tmp_path / name), tmp_path / f"{name}.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_columns_keep_their_own_resolution() -> None:
    weight = np.array([[1.0, 0.001, 0.0], [-0.5, 0.0005, 0.0]], np.float32)
    scales = column_scales(weight)
    values = np.rint(weight / scales)
    np.testing.assert_allclose(values * scales, weight, atol=0.005 * np.abs(weight).max(axis=0).max())
    assert values[0].tolist() == [127, 127, 0]


def test_a_graph_whose_products_could_saturate_is_not_built(config: BertConfig, tmp_path: Path) -> None:
    def saturating(_name: str, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(weight.shape, 65, np.int8), column_scales(weight)

    calibration = tiny_calibration(tmp_path)._replace(quantize=saturating)
    with pytest.raises(ModelError, match="pair limit"):
        Int8BertEncoder(config, tiny_weights(), "mean", calibration).model()


def test_a_missing_tensor_is_named(config: BertConfig) -> None:
    lacking = tiny_weights()
    del lacking["encoder.layer.1.output.dense.bias"]
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        BertEncoder(config, lacking, "mean").model()


def test_constants_are_shared() -> None:
    graph = GraphBuilder("shared")
    assert graph.ints(0, 1) == graph.ints(0, 1)
    assert graph.number(0.5) == graph.number(0.5)
    assert graph.ints(0) != graph.ints(1)
