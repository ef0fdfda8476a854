"""The int8 graphs give the same answer on every CPU and in every batch."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support.calibrated import int8_matrices, tiny_int8
from support.minilm_model import MiniLM
from support.tiny_model import LAYERS, VOCABULARY

from inferstream.pipeline.graphs.bert.int8 import pairs_over_limit
from inferstream.pipeline.graphs.builder import write_model
from inferstream.pipeline.optimize.closeness.agreement import independence
from inferstream.pipeline.optimize.sample import calibration_texts, load_sample
from inferstream.pipeline.runtime.encoder import collate
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.tasks.pooling import embed

QUERY_KEY_VALUE = 3
LARGEST_16 = 2**15 - 1


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("tiny")
    write_model(tiny_int8(folder), folder / "graph.onnx")
    return Session(folder / "graph.onnx", provider="cpu")


@pytest.fixture(scope="module")
def minilm_graph(minilm: MiniLM) -> onnx.ModelProto:
    return onnx.load(minilm.manifest.graph_path)


def exact(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return inputs.astype(np.int64) @ weight.astype(np.int64)


def of_avx2(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What a CPU without VNNI computes: products of neighbors are added in 16 bits and saturate."""
    odd = len(weight) % 2
    left = np.pad(inputs.astype(np.int64), ((0, 0), (0, odd))).reshape(len(inputs), -1, 2)
    right = np.pad(weight.astype(np.int64), ((0, odd), (0, 0))).reshape(-1, 2, weight.shape[1])
    total = np.zeros((len(inputs), weight.shape[1]), np.int64)
    for pair in range(left.shape[1]):
        sums = left[:, pair] @ right[pair]
        total += np.clip(sums, -LARGEST_16 - 1, LARGEST_16)
    return total


def integer_product(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The int32 product of uint8 and int8 as ONNX Runtime computes it here."""
    zeros = [
        numpy_helper.from_array(np.uint8(0), "az"),
        numpy_helper.from_array(np.zeros(weight.shape[1], np.int8), "bz"),
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b", "az", "bz"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, inputs.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT32, (len(inputs), weight.shape[1]))],
        [numpy_helper.from_array(np.ascontiguousarray(weight), "b"), *zeros],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"a": inputs})[0]


def worst_inputs(weight: np.ndarray) -> np.ndarray:
    """Rows of uint8 inputs: the largest, those that meet each sign alone, and random ones."""
    rng = np.random.default_rng(0)
    columns = weight[:, :: max(1, weight.shape[1] // 4)].T
    alone = [np.where(sign * column > 0, 255, 0) for column in columns for sign in (1, -1)]
    rows = [np.full(len(weight), 255), *alone, *rng.integers(0, 256, (4, len(weight)))]
    return np.array(rows, np.uint8)


@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_every_matrix_of_a_built_graph_keeps_the_pair_limit(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    matrices = int8_matrices(tiny_int8(tmp_path_factory.mktemp("tiny"), seed))
    assert len(matrices) == 4 * LAYERS
    assert {name: pairs_over_limit(values) for name, values in matrices.items()} == dict.fromkeys(matrices, 0)


def test_no_other_int8_matrix_is_in_a_graph(minilm_graph: onnx.ModelProto) -> None:
    products = int8_matrices(minilm_graph)
    for tensor in minilm_graph.graph.initializer:
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 2:
            assert tensor.name in products


def test_every_matrix_of_minilm_keeps_the_pair_limit(minilm_graph: onnx.ModelProto) -> None:
    matrices = int8_matrices(minilm_graph)
    assert len(matrices) == 24
    assert sum(values.size for values in matrices.values()) > 10_000_000
    assert {name: pairs_over_limit(values) for name, values in matrices.items()} == dict.fromkeys(matrices, 0)


def test_integer_products_of_minilm_are_exact_also_in_16_bits(minilm_graph: onnx.ModelProto) -> None:
    for name, weight in int8_matrices(minilm_graph).items():
        inputs = worst_inputs(weight)
        expected = exact(inputs, weight)
        np.testing.assert_array_equal(of_avx2(inputs, weight), expected, err_msg=name)
        np.testing.assert_array_equal(integer_product(inputs, weight), expected, err_msg=name)
        np.testing.assert_array_equal(integer_product(inputs[:1], weight), expected[:1], err_msg=name)


def test_the_emulation_of_16_bits_saturates() -> None:
    """The known case: 64 products of 255 × 127."""
    inputs, weight = np.full((1, 64), 255, np.uint8), np.full((64, 1), 127, np.int8)
    assert (of_avx2(inputs, weight)[0, 0], exact(inputs, weight)[0, 0]) == (1_048_544, 2_072_640)


def test_the_product_inside_the_attention_is_exact(minilm_graph: onnx.ModelProto) -> None:
    """With one token the shares are 1: the output is the product with the values' third of the matrix."""
    stored = {tensor.name: tensor for tensor in minilm_graph.graph.initializer}
    node = next(node for node in minilm_graph.graph.node if node.op_type == "QAttention")
    q, weight_name, bias, scale, weight_scale, mask, zero, _ = node.input
    parts = {
        name: numpy_helper.to_array(stored[name]) for name in (weight_name, bias, scale, weight_scale, zero)
    }
    weight = parts[weight_name]
    width = len(weight)
    graph = helper.make_graph(
        [node],
        "attention",
        [
            helper.make_tensor_value_info(q, TensorProto.UINT8, ("rows", 1, width)),
            helper.make_tensor_value_info(mask, TensorProto.INT32, ("rows", 1)),
        ],
        [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, ("rows", 1, width))],
        [tensor for name, tensor in stored.items() if name in node.input],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = worst_inputs(weight)
    feeds = {q: inputs[:, None], mask: np.ones((len(inputs), 1), np.int32)}
    found = session.run(None, feeds)[0][:, 0]
    values = slice((QUERY_KEY_VALUE - 1) * width, None)
    total = exact(inputs, weight)[:, values] - int(parts[zero]) * weight[:, values].sum(
        axis=0, dtype=np.int64
    )
    expected = total * (parts[scale] * parts[weight_scale][values]).astype(np.float64) + parts[bias][values]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(data=st.data())
def test_a_row_has_the_same_vector_in_every_batch(tiny: Session, data: st.DataObject) -> None:
    tokens = st.integers(4, len(VOCABULARY) - 1)
    row = data.draw(st.lists(tokens, min_size=1, max_size=40))
    others = data.draw(st.lists(st.lists(tokens, min_size=1, max_size=48), max_size=6))
    place = data.draw(st.integers(0, len(others)))
    (alone,) = tiny.run(collate([row], 0))[0]
    batch = [*others[:place], row, *others[place:]]
    in_company = tiny.run(collate(batch, 0))[0][place]
    np.testing.assert_allclose(in_company, alone, atol=2e-6)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_minilm_gives_a_text_the_same_vector_in_every_batch(minilm: MiniLM, precision: str) -> None:
    session = Session(minilm.registry.load(f"minilm-{precision}").graph_path, provider="cpu")
    sentences, labels = load_sample()
    texts = [*sentences[::6], *calibration_texts(sentences)[len(sentences) :: 8]]
    alone = embed(texts, minilm.tokenizer, session, batch_tokens=1)
    found = independence(texts, labels[::6], alone, minilm.tokenizer, session)
    assert (found.rows, found.labels_changed) == (len(texts), 0)
    assert found.largest_difference < 1e-5


def test_the_manifest_of_minilm_says_so(minilm: MiniLM) -> None:
    found = minilm.manifest.independence
    assert found is not None
    assert (found.rows, found.labels_changed) == (279, 0)
    assert found.largest_difference < 1e-5
