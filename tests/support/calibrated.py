"""Int8 encoders of the tiny model, calibrated on a few of its texts."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from inferstream.pipeline.graphs.bert.files import read_config
from inferstream.pipeline.graphs.bert.int8 import PAIR_LIMIT, Calibration, Int8BertEncoder, column_scales
from inferstream.pipeline.optimize.compression.calibration import calibration_of, measure_inputs
from inferstream.pipeline.optimize.sample import calibration_texts, load_sample
from inferstream.pipeline.runtime.tokenizer import Tokenizer
from support.tiny_model import tiny_weights, write_tiny_model

PRODUCTS = ("MatMulIntegerToFloat", "QAttention")


def to_nearest(_name: str, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A Quantizer that does not use the inputs: the nearest values with which no pair can exceed the limit."""
    scales = column_scales(weight) * np.float32(128 / (PAIR_LIMIT / 2))
    return np.rint(weight / scales).astype(np.int8), scales


def tiny_calibration(folder: Path, seed: int = 0) -> Calibration:
    """The calibration of the tiny model with the weights of ``seed``; writes the model to ``folder``."""
    write_tiny_model(folder, seed)
    tokenizer = Tokenizer(folder / "tokenizer.json", 48)
    texts = calibration_texts(load_sample()[0][::6])
    return calibration_of(
        measure_inputs(read_config(folder / "config.json"), tiny_weights(seed), tokenizer, texts)
    )


def tiny_int8(folder: Path, seed: int = 0, pooling: str = "mean") -> onnx.ModelProto:
    """The int8 graph of the tiny model with the weights of ``seed``."""
    calibration = tiny_calibration(folder, seed)
    config = read_config(folder / "config.json")
    return Int8BertEncoder(config, tiny_weights(seed), pooling, calibration).model()


def int8_matrices(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights (in, out) of every int8 product of a graph, by name."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    used = {node.input[1] for node in model.graph.node if node.op_type in PRODUCTS}
    return {name: numpy_helper.to_array(stored[name]) for name in used}
