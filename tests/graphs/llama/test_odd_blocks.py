"""Blocks of 4 bits as a strange file may have them: a scale of 0, below the normal numbers, negative; large offsets."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.tiny_llama import tiny_tensors, write_tiny_gguf

from inferstream.pipeline.graphs.builder import GraphBuilder, write_model
from inferstream.pipeline.graphs.llama.blocks import SIZE, Weight, dense, eight_bits, unpacked
from inferstream.pipeline.graphs.llama.config import DecoderModel
from inferstream.pipeline.graphs.llama.gguf_file import KINDS, StoredTensor
from inferstream.pipeline.graphs.llama.gguf_model import read_gguf_model
from inferstream.pipeline.graphs.llama.linears import Linears4
from inferstream.pipeline.graphs.llama.offset_columns import copies_of, offset_columns
from inferstream.pipeline.graphs.tensor_file import TensorFile
from inferstream.pipeline.runtime.sessions import Session

COLUMNS = 3 * SIZE
SUM = 127
PART = 1 / 220
"""Of the largest step of a row: how exact an offset is that has columns of its own."""
LAYER = "blk.0.attn_output"
SMALLEST = 2.0**-24
LARGEST = 65504.0

halves = st.one_of(
    st.sampled_from([0.0, -0.0, SMALLEST, -SMALLEST, 2.0**-14, LARGEST, -LARGEST]),
    st.floats(-LARGEST, LARGEST, width=16),
    st.floats(-1, 1, width=16),
)


class OneBlock(NamedTuple):
    """A block with its two numbers in half precision; Q4_0 has the first one only."""

    kind: str
    scale: float
    offset: float
    seed: int

    def raw(self) -> bytes:
        numbers = np.array([self.scale, self.offset] if self.kind == "Q4_1" else [self.scale], "<f2")
        return (
            numbers.tobytes()
            + np.random.default_rng(self.seed).integers(0, 256, SIZE // 2, np.uint8).tobytes()
        )


def tensor_of(blocks: list[OneBlock]) -> Weight:
    """A matrix of one output for each block; the blocks behind it are plain ones."""
    (kind,) = {block.kind for block in blocks}
    plain = OneBlock(kind, 0.01, -0.08, 7).raw() * 2
    raw = b"".join(block.raw() + plain for block in blocks)
    stored = next(known for known in KINDS.values() if known.name == kind)
    return unpacked(StoredTensor(stored, (len(blocks), COLUMNS), memoryview(raw)))


def matrices(draw: st.DrawFn) -> list[OneBlock]:
    kind = draw(st.sampled_from(["Q4_0", "Q4_1"]))
    numbers = draw(st.lists(st.tuples(halves, halves), min_size=1, max_size=6))
    return [OneBlock(kind, scale, offset, seed) for seed, (scale, offset) in enumerate(numbers)]


CONSTANT = [OneBlock("Q4_1", 0.0, offset, 1) for offset in (-0.4, -0.5, -3.0, -20.0, 0.75, LARGEST, 0.0)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DecoderModel:
    folder = tmp_path_factory.mktemp("odd")
    write_tiny_gguf(folder / "m.gguf", tiny_tensors(1))
    return read_gguf_model(folder / "m.gguf")


def product_in_four_bits(
    model: DecoderModel, weight: Weight, states: NDArray[np.float32], folder: Path
) -> NDArray[np.float32]:
    class One:
        """`Tensors` with one layer."""

        def has(self, name: str) -> bool:
            return name == f"{LAYER}.weight"

        def weight(self, name: str) -> Weight:
            return weight

    tensors = TensorFile(folder / "odd.data")
    graph = GraphBuilder("odd", tensors)
    graph.input("states", "float32", ("rows", "steps", COLUMNS))
    linears = Linears4(model._replace(tensors=One()), graph)  # type: ignore[arg-type]
    graph.add("Identity", linears.product("states", [LAYER]), output="out")
    graph.output("out", "float32", ("rows", "steps", len(dense(weight))))
    tensors.finish()
    write_model(graph.model({}, "odd.data"), folder / "odd.onnx")
    (found,) = Session(folder / "odd.onnx", provider="cpu").run({"states": states})
    product: NDArray[np.float32] = found[0]
    return product


@settings(max_examples=60, deadline=None)
@given(blocks=st.composite(matrices)(), rows=st.integers(1, 3))
@example(blocks=CONSTANT, rows=1)
@example(blocks=CONSTANT, rows=2)
def test_no_value_is_lost_in_4_bits(
    model: DecoderModel, tmp_path_factory: pytest.TempPathFactory, blocks: list[OneBlock], rows: int
) -> None:
    """The product is that of the stored values: to the rounding of float32, and of offsets to a part of a step."""
    weight = tensor_of(blocks)
    states = exact_states(rows)
    found = product_in_four_bits(model, weight, states, tmp_path_factory.mktemp("one"))
    matrix = dense(weight).astype(np.float64)
    # What is rounded are the parts of a value, d · q and m, which may be larger than it.
    sizes = np.abs(states[0]).astype(np.float64) @ np.repeat(_sizes(weight), SIZE, axis=1).T
    assert not isinstance(weight, np.ndarray)
    offsets = COLUMNS // SIZE * SUM * np.abs(weight.scales).max(-1) * PART
    np.testing.assert_array_less(np.abs(found - states[0] @ matrix.T), offsets + 2e-6 * sizes + 1e-30)


def exact_states(rows: int) -> NDArray[np.float32]:
    """Inputs that 8 bits hold exactly, and whose blocks have the sum 127, which they hold, too."""
    rng = np.random.default_rng(2)
    half = rng.integers(-127, 128, (rows, COLUMNS // SIZE, SIZE // 2 - 1))
    ends = np.broadcast_to([SUM, 0], (*half.shape[:2], 2))
    blocks = rng.permuted(np.concatenate([half, -half, ends], axis=-1), axis=-1)
    return blocks.reshape(1, rows, COLUMNS).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(blocks=st.composite(matrices)())
@example(blocks=CONSTANT)
def test_in_8_bits_a_value_moves_by_half_a_step_at_most(blocks: list[OneBlock]) -> None:
    weight = tensor_of(blocks)
    eight = eight_bits(weight)
    zeros = np.float32(128) if eight.zeros is None else eight.zeros[..., None].astype(np.float32)
    found = eight.scales[..., None] * (eight.values - zeros)
    expected = dense(weight).reshape(found.shape)
    bound = 0.51 * np.abs(eight.scales) + 1e-6 * _sizes(weight)
    assert (np.abs(found - expected) <= bound[..., None]).all()


def _sizes(weight: Weight) -> NDArray[np.float64]:
    """The largest that a part of a value in each block may be, (out, blocks)."""
    assert not isinstance(weight, np.ndarray)
    return 15.0 * np.abs(weight.scales) + np.abs(weight.offsets)


@pytest.mark.parametrize("sums", [1, 2, 18, 31, 32, 33, 48, 64, 100])
def test_each_offset_has_its_columns_in_two_levels(sums: int) -> None:
    rng = np.random.default_rng(sums)
    steps = rng.uniform(0.5, 1, (5, sums)).astype(np.float32)
    left = (rng.uniform(-0.5, 0.5, (5, sums)) * steps).astype(np.float32)
    columns = offset_columns(left, steps)
    assert columns is not None
    values = columns.dense()[:, : copies_of(sums) * sums]
    found = sum(values[:, start : start + sums] for start in range(0, values.shape[1], sums))
    np.testing.assert_allclose(found, left, atol=1 * PART)


def test_an_offset_far_from_all_zero_points_has_no_columns() -> None:
    """A constant block beside usual ones: with the scale that it asks for, the others would lose their offsets."""
    left = np.full((2, 18), 0.004, np.float32)
    steps = np.full((2, 18), 0.01, np.float32)
    assert offset_columns(left, steps) is not None
    left[1, 5], steps[1, 5] = -3.0, 0.0
    assert offset_columns(left, steps) is None
