"""The int8 encoder with some layers in float32, and the dynamic one."""

import numpy as np
import onnx
import pytest
from support.calibrated import tiny_calibration
from support.tiny_model import LAYERS, VOCABULARY, tiny_weights

from inferstream.pipeline.graphs.bert.files import read_config
from inferstream.pipeline.graphs.bert.float32 import BertConfig, BertEncoder
from inferstream.pipeline.graphs.bert.int8 import Calibration, Int8BertEncoder
from inferstream.pipeline.graphs.bert.mixed import DynamicBertEncoder, MixedBertEncoder
from inferstream.pipeline.optimize.compression.sensitivity import multiplications
from inferstream.pipeline.runtime.encoder import collate
from inferstream.pipeline.runtime.sessions import Session

ROWS = [np.random.default_rng(0).integers(4, len(VOCABULARY), length).tolist() for length in (3, 9, 5, 20)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[BertConfig, Calibration]:
    folder = tmp_path_factory.mktemp("tiny")
    calibration = tiny_calibration(folder)
    return read_config(folder / "config.json"), calibration


def vectors(model: onnx.ModelProto, rows: list[list[int]] = ROWS) -> np.ndarray:
    return Session(model.SerializeToString(), provider="cpu").run(collate(rows, 0))[0]


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_with_no_layer_kept_it_is_the_int8_encoder(parts: tuple[BertConfig, Calibration]) -> None:
    config, calibration = parts
    int8 = Int8BertEncoder(config, tiny_weights(), "mean", calibration).model()
    mixed = MixedBertEncoder(config, tiny_weights(), "mean", calibration, ()).model()
    np.testing.assert_array_equal(vectors(mixed), vectors(int8))


def test_with_all_layers_kept_only_the_word_table_is_rounded(parts: tuple[BertConfig, Calibration]) -> None:
    config, calibration = parts
    layers = multiplications(config, tiny_weights())
    assert len(layers) == 4 * LAYERS
    mixed = MixedBertEncoder(config, tiny_weights(), "mean", calibration, layers).model()
    assert not {"QAttention", "MatMulIntegerToFloat"} & set(operators(mixed))
    fp32 = vectors(BertEncoder(config, tiny_weights(), "mean").model())
    np.testing.assert_allclose(vectors(mixed), fp32, atol=0.01)


def test_a_kept_layer_is_in_float32_and_no_other(parts: tuple[BertConfig, Calibration]) -> None:
    config, calibration = parts
    for name in multiplications(config, tiny_weights()):
        mixed = MixedBertEncoder(config, tiny_weights(), "mean", calibration, [name]).model()
        found = operators(mixed)
        attention = name.endswith("query")
        assert found.count("QAttention") == LAYERS - attention
        assert found.count("MatMulIntegerToFloat") == 3 * LAYERS - (not attention)
        alone = np.concatenate([vectors(mixed, [row]) for row in ROWS])
        np.testing.assert_allclose(vectors(mixed), alone, atol=1e-6)


def test_the_dynamic_encoder_is_near_the_original(parts: tuple[BertConfig, Calibration]) -> None:
    config, calibration = parts
    dynamic = DynamicBertEncoder(config, tiny_weights(), "mean", calibration).model()
    fp32 = vectors(BertEncoder(config, tiny_weights(), "mean").model())
    assert np.sum(vectors(dynamic) * fp32, axis=1).min() > 0.98


def test_the_layers_are_those_that_are_calibrated(parts: tuple[BertConfig, Calibration]) -> None:
    config, calibration = parts
    assert multiplications(config, tiny_weights()).keys() == calibration.ranges.keys()
