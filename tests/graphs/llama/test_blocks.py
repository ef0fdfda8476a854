"""The kinds of weights against the package `gguf`, and what becomes of them in 8 and in 4 bits."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from numpy.typing import NDArray
from support.decoders import session_of
from support.numpy_llama import NumpyLlama, NumpyOptions
from support.tiny_llama import (
    HEAD_WIDTH,
    HEADS,
    KV_HEADS,
    LAYERS,
    WORDS,
    tiny_tensors,
    write_tiny_gguf,
)

from inferstream.pipeline.graphs.llama.blocks import Blocks, dense, eight_bits, unpacked
from inferstream.pipeline.graphs.llama.gguf_file import KINDS, StoredTensor, read_gguf
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.graphs.llama.linears import has_four_bits
from inferstream.pipeline.optimize.closeness.fidelity import scores_of

IN_BLOCKS = [kind for kind in KINDS.values() if kind.size > 1]
HALVES = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
"""Where the float16 numbers of a block are; in the other kinds at its start."""

ROWS, BLOCKS_IN_A_ROW = 6, 5


def random_tensor(name: str, seed: int = 0) -> tuple[StoredTensor, NDArray[np.float32]]:
    """Random bytes as the kind, and what `gguf` makes of them."""
    kind = next(kind for kind in IN_BLOCKS if kind.name == name)
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (ROWS, BLOCKS_IN_A_ROW, kind.bytes), dtype=np.uint8)
    for place in HALVES.get(name, (0,)):
        halves = rng.normal(0, 1, (ROWS, BLOCKS_IN_A_ROW, 1)).astype("<f2")
        raw[..., place : place + 2] = halves.view(np.uint8)
    expected = dequantize(raw.reshape(ROWS, -1), gguf.GGMLQuantizationType[name])
    return StoredTensor(kind, (ROWS, BLOCKS_IN_A_ROW * kind.size), memoryview(raw.tobytes())), expected


@pytest.mark.parametrize("kind", [kind.name for kind in IN_BLOCKS])
def test_a_kind_is_unpacked_as_by_gguf(kind: str) -> None:
    tensor, expected = random_tensor(kind)
    np.testing.assert_allclose(dense(unpacked(tensor)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [kind.name for kind in IN_BLOCKS])
def test_in_8_bits_a_value_moves_by_half_a_step_of_its_block_at_most(kind: str) -> None:
    tensor, expected = random_tensor(kind)
    weight = unpacked(tensor)
    eight = eight_bits(weight)
    zeros = np.float32(128) if eight.zeros is None else eight.zeros[..., None].astype(np.float32)
    found = eight.scales[..., None] * (eight.values - zeros)
    bound = 0.51 * np.abs(eight.scales)[..., None]
    assert (np.abs(found - expected.reshape(found.shape)) <= bound).all()
    if kind in {"Q4_0", "Q5_0", "Q8_0"}:
        np.testing.assert_array_equal(found.reshape(ROWS, -1), expected)


@pytest.mark.parametrize("value", [0.0, 3.0, -5.0])
def test_a_block_of_equal_values_keeps_them(value: float) -> None:
    shape = (2, 3)
    flat = Blocks(
        np.zeros((*shape, 32), np.uint8), np.zeros(shape, np.float32), np.full(shape, value, np.float32), 4
    )
    eight = eight_bits(flat)
    zeros = 128 if eight.zeros is None else eight.zeros[..., None].astype(np.float32)
    np.testing.assert_allclose(eight.scales[..., None] * (eight.values - zeros), value, rtol=1e-6)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16"])
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_each_precision_is_close_to_numpy(tmp_path: Path, kind: str, precision: str) -> None:
    arrays = write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(7), kind=kind)
    model = read_gguf_model(tmp_path / "m.gguf")
    assert has_four_bits(model) == kind.startswith("Q4")
    half = np.arange(HEAD_WIDTH // 2) / (HEAD_WIDTH // 2)
    options = NumpyOptions(HEADS, KV_HEADS, 10_000.0**-half, True, [0] * LAYERS, [True] * LAYERS)
    tokens = np.random.default_rng(1).integers(0, WORDS, 40).tolist()
    expected = NumpyLlama(arrays, options).scores(tokens)
    found = scores_of(session_of(model, precision, tmp_path), tokens)
    error = np.sqrt(((found - expected) ** 2).mean()) / expected.std()
    # Inputs are rounded to 8 bits, and random weights make much of it. Offsets rounded to 4 bits gave 0.4.
    assert error < (1e-4 if precision == "fp32" else 0.1)


def test_int4_keeps_the_weights(tmp_path: Path) -> None:
    """One layer with inputs that 8 bits hold exactly: whatever differs then is the weights."""
    import onnx

    from inferstream.pipeline.graphs.builder import GraphBuilder, write_model
    from inferstream.pipeline.graphs.llama.linears import Linears4
    from inferstream.pipeline.graphs.tensor_file import TensorFile
    from inferstream.pipeline.runtime.sessions import Session

    arrays = write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors(7), kind="Q4_1")
    tensors = TensorFile(tmp_path / "one.data")
    graph = GraphBuilder("one", tensors)
    graph.input("states", "float32", ("rows", "steps", 64))
    linears = Linears4(read_gguf_model(tmp_path / "m.gguf"), graph)
    graph.add("Identity", linears.product("states", ["blk.1.ffn_gate", "blk.1.ffn_up"]), output="out")
    graph.output("out", "float32", ("rows", "steps", 192))
    tensors.finish()
    write_model(graph.model({}, "one.data"), tmp_path / "one.onnx")
    onnx.checker.check_model(str(tmp_path / "one.onnx"))
    rng = np.random.default_rng(2)
    states = rng.integers(-127, 128, (1, 9, 64)).astype(np.float32)
    states[..., ::32] = 127  # so that a block is rounded with the scale 1
    (found,) = Session(tmp_path / "one.onnx", provider="cpu").run({"states": states})
    matrix = np.concatenate([arrays["blk.1.ffn_gate.weight"], arrays["blk.1.ffn_up.weight"]])
    expected = states[0].astype(np.float64) @ matrix.T.astype(np.float64)
    # The sums of blocks are rounded to 8 bits, too.
    np.testing.assert_allclose(found[0], expected, atol=5e-4 * np.abs(expected).max())


def test_a_file_with_kinds_mixed_in_a_layer(tmp_path: Path) -> None:
    """As in Q4_K_M: values in another kind than queries and keys."""
    arrays = tiny_tensors(7)
    write_tiny_gguf(tmp_path / "four.gguf", arrays, kind="Q4_1")
    four = read_gguf_model(tmp_path / "four.gguf")
    write_tiny_gguf(tmp_path / "eight.gguf", arrays, kind="Q8_0")
    eight = read_gguf_model(tmp_path / "eight.gguf").tensors

    class Mixed:
        def of(self, name: str):  # type: ignore[no-untyped-def]
            return eight if "attn_v" in name else four.tensors

        def __getattr__(self, method: str):  # type: ignore[no-untyped-def]
            return lambda name: getattr(self.of(name), method)(name)

    mixed = four._replace(tensors=Mixed())  # type: ignore[arg-type]
    tokens = [5, 6, 7, 200]
    exact = scores_of(session_of(mixed, "fp32", tmp_path), tokens)
    found = scores_of(session_of(mixed, "int4", tmp_path), tokens)
    assert np.sqrt(((found - exact) ** 2).mean()) / exact.std() < 0.1


def test_the_header_is_read_as_by_gguf(tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "m.gguf", tiny_tensors())
    found = read_gguf(tmp_path / "m.gguf")
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    expected = {
        name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")
    }
    assert dict(found.settings) == expected
    assert {name: tensor.shape for name, tensor in found.tensors.items()} == {
        tensor.name: tuple(tensor.shape.tolist()[::-1]) for tensor in reader.tensors
    }
    for tensor in reader.tensors:
        assert bytes(found.tensors[tensor.name].data) == tensor.data.tobytes()
