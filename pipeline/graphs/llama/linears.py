"""The linear layers and the table of words of a decoder, in float32, in 8 bits, and in 4 bits as they are stored."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from ..builder import MICROSOFT, GraphBuilder
from .blocks import SIZE, Blocks, Floats, Weight, dense, eight_bits, joined
from .config import DecoderModel, matrices_of
from .offset_columns import HIGHEST, FourBits, beside, copies_of, offset_columns

WORDS = "token_embd.weight"
HEAD = "output.weight"
INT8_INPUTS = 4
"""Accuracy level of MatMulNBits: inputs are rounded to 8 bits, in blocks of 32, each row by itself."""

FOUR_BITS = 4


def has_four_bits(model: DecoderModel) -> bool:
    """Whether linear layers of the model are stored in 4 bits."""
    return any(model.tensors.bits(name) == FOUR_BITS for name in matrices_of(model.config) if name != WORDS)


class Linears:
    """In float32."""

    def __init__(self, model: DecoderModel, graph: GraphBuilder) -> None:
        self._model = model
        self._tensors = model.tensors
        self._graph = graph

    def product(self, states: str, names: Sequence[str]) -> str:
        """``states`` × the layers ``names`` side by side, with their biases."""
        product = self._product(states, names)
        if not any(self._tensors.has(f"{name}.bias") for name in names):
            return product
        biases = [self._bias(name) for name in names]
        return self._graph.add("Add", product, self._graph.weight(f"{names[0]}.bias", np.concatenate(biases)))

    def words(self, ids: str) -> str:
        """The vectors of the tokens ``ids``, (…, width)."""
        return self._graph.add("Gather", self._graph.weight(WORDS, dense(self._tensors.weight(WORDS))), ids)

    def scores(self, states: str, output: str) -> str:
        """The scores of all tokens after ``states`` (rows, width)."""
        table = self._graph.weight(self._head, dense(self._tensors.weight(self._head)))
        return self._graph.add("Gemm", states, table, output=output, transB=1)

    @property
    def _head(self) -> str:
        return HEAD if self._tensors.has(HEAD) else WORDS

    def _product(self, states: str, names: Sequence[str]) -> str:
        matrix = np.concatenate([dense(self._tensors.weight(f"{name}.weight")) for name in names])
        return self._graph.add("MatMul", states, self._graph.weight(f"{names[0]}.weight", matrix.T))

    def _bias(self, name: str) -> Floats:
        if self._tensors.has(f"{name}.bias"):
            return self._tensors.vector(f"{name}.bias")
        return np.zeros(matrices_of(self._model.config)[f"{name}.weight"][0], np.float32)


class Linears8(Linears):
    """Weights in 8 bits with a scale for 32 columns, inputs in 8 bits too, sums in float32."""

    def words(self, ids: str) -> str:
        graph = self._graph
        self._store_eight(WORDS, self._tensors.weight(WORDS))
        values = graph.add("Gather", f"{WORDS}.values", ids)
        numbers = graph.add("Cast", values, to=onnx.TensorProto.FLOAT)
        if graph.has_weight(f"{WORDS}.zeros"):
            zeros = graph.add("Gather", f"{WORDS}.zeros", ids)
            zero = graph.add("Unsqueeze", graph.add("Cast", zeros, to=onnx.TensorProto.FLOAT), graph.ints(-1))
        else:
            zero = graph.number(128.0)
        scales = graph.add("Unsqueeze", graph.add("Gather", f"{WORDS}.scales", ids), graph.ints(-1))
        vectors = graph.add("Mul", graph.add("Sub", numbers, zero), scales)
        full = graph.add("Reshape", vectors, graph.ints(0, 0, -1))
        width = self._model.config.width
        if width % SIZE:
            full = graph.add("Slice", full, graph.ints(0), graph.ints(width), graph.ints(2))
        return full

    def scores(self, states: str, output: str) -> str:
        return self._nbits(
            states, self._head, *self._store_eight(self._head, self._tensors.weight(self._head)), output
        )

    def _product(self, states: str, names: Sequence[str]) -> str:
        return self._eight(states, names[0], [self._tensors.weight(f"{name}.weight") for name in names])

    def _eight(self, states: str, name: str, weights: Sequence[Weight]) -> str:
        blocks = [weight for weight in weights if isinstance(weight, Blocks)]
        alike = len(blocks) == len(weights) and len({block.bits for block in blocks}) == 1
        weight = joined(blocks) if alike else np.concatenate([dense(weight) for weight in weights])
        return self._nbits(states, name, *self._store_eight(name, weight))

    def _store_eight(self, name: str, weight: Weight) -> tuple[int, int]:
        """Store the matrix as ``name``.values, .scales and .zeros; returns its outputs and inputs."""
        eight = eight_bits(weight)
        columns = weight.values.shape[1] * SIZE if isinstance(weight, Blocks) else weight.shape[1]
        self._graph.weight(f"{name}.values", eight.values)
        self._graph.weight(f"{name}.scales", eight.scales)
        if eight.zeros is not None:
            self._graph.weight(f"{name}.zeros", eight.zeros)
        return len(eight.values), columns

    def _nbits(
        self, states: str, name: str, rows: int, columns: int, output: str | None = None, bits: int = 8
    ) -> str:
        parts = [f"{name}.{part}" for part in ("values", "scales", "zeros")]
        return self._graph.add(
            "MatMulNBits",
            states,
            *(part for part in parts if self._graph.has_weight(part)),
            output=output,
            domain=MICROSOFT,
            K=columns,
            N=rows,
            bits=bits,
            block_size=SIZE,
            accuracy_level=INT8_INPUTS,
        )


class Linears4(Linears8):
    """What is stored in 4 bits stays as it is, the rest has 8 bits.

    MatMulNBits knows whole zero points only, and the offsets of a Q4_1 file are none. Rounding them gives another model
    (KL 0.37 to float32, where this has 0.004). So a product takes them as whole ones, and what is left of each offset
    is multiplied with the sum of the inputs of its block: as more columns of the same product, or where an offset is
    far from all zero points, as a product of its own.
    """

    def __init__(self, model: DecoderModel, graph: GraphBuilder) -> None:
        super().__init__(model, graph)
        self._sums: dict[str, str] = {}
        self._with_sums: dict[str, str] = {}

    def _product(self, states: str, names: Sequence[str]) -> str:
        weights = [self._tensors.weight(f"{name}.weight") for name in names]
        four = [isinstance(weight, Blocks) and weight.bits == FOUR_BITS for weight in weights]
        if all(four):
            return self._four(states, names[0], joined([w for w in weights if isinstance(w, Blocks)]))
        if not any(four):
            return self._eight(states, names[0], weights)
        parts = [self._product(states, [name]) for name in names]
        return self._graph.add("Concat", *parts, axis=-1)

    def _four(self, states: str, name: str, weight: Blocks) -> str:
        scales = np.where(weight.scales == 0, np.float32(1), weight.scales)
        zeros = np.clip(np.rint(-weight.offsets / scales), 0, HIGHEST)
        left = (weight.offsets + weight.scales * zeros).astype(np.float32)
        whole = FourBits(weight.values, weight.scales, zeros)
        if not left.any():  # Q4_0
            return self._four_nbits(states, name, whole)
        if (columns := offset_columns(left, weight.scales)) is not None:
            return self._four_nbits(
                self._and_sums(states, left.shape[1]), name, beside(whole, columns), len(left[0])
            )
        graph = self._graph
        sums = self._block_sums(states, left.shape[1])
        offsets = graph.add("MatMul", sums, graph.weight(f"{name}.offsets", left.T))
        return graph.add("Add", self._four_nbits(states, name, whole), offsets)

    def _four_nbits(self, states: str, name: str, weight: FourBits, sums: int = 0) -> str:
        """The product; ``sums``: how many stand behind the inputs in each copy."""
        graph = self._graph
        graph.weight(f"{name}.values", _packed(weight.values))
        graph.weight(f"{name}.scales", weight.scales)
        graph.weight(f"{name}.zeros", _packed(_even(weight.zeros.astype(np.uint8))))
        columns = sums * (SIZE + copies_of(sums)) if sums else weight.values.shape[1] * SIZE
        return self._nbits(states, name, len(weight.values), columns, bits=FOUR_BITS)

    def _block_sums(self, states: str, blocks: int) -> str:
        """The sum of each 32 inputs; layers with the same inputs share it."""
        if states not in self._sums:
            graph = self._graph
            rows = graph.add("Reshape", states, graph.ints(0, 0, blocks, SIZE))
            self._sums[states] = graph.add("ReduceSum", rows, graph.ints(3), keepdims=0)
        return self._sums[states]

    def _and_sums(self, states: str, blocks: int) -> str:
        """The inputs, and copies of the sums of their blocks behind them."""
        if states not in self._with_sums:
            copies = [self._block_sums(states, blocks)] * copies_of(blocks)
            self._with_sums[states] = self._graph.add("Concat", states, *copies, axis=-1)
        return self._with_sums[states]


def _packed(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two 4-bit numbers in a byte, the first one in its lower half."""
    packed: NDArray[np.uint8] = values[..., 0::2] | values[..., 1::2] << np.uint8(4)
    return packed


def _even(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Filled up to an even number of columns."""
    return np.pad(values, ((0, 0), (0, values.shape[1] % 2)))
