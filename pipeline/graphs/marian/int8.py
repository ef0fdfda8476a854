"""The layers of a Marian translator with int8 matrix products, on the grid that the model file stores.

Weights are the stored ones, signed, with one scale per column. Inputs are unsigned, with the stored multiplier of
their layer as a constant scale, so that no row of a batch depends on the others. In the output layer int8 finds the
few best words, and float32 decides between them. The fused operators are those of ONNX Runtime (domain com.microsoft)
for a CPU.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ..builder import MICROSOFT, GraphBuilder
from ..devices import CPU
from .items import Quantized
from .layers import Chosen, Layers, WordChoices, joined
from .weights import OUTPUT_BIAS, WORDS

PAIR_LIMIT = 128
"""Of two weights of one sign in rows 2k and 2k + 1: a CPU with AVX2 and without VNNI adds their products with two
inputs in 16 bits, and 255 × 128 = 32 640 is below 32 767 (decision 10)."""

SIGNED_ZERO = 128
ZERO_OF_7_BITS = 64
LARGEST_OF_7_BITS = 127
"""With inputs of 7 bits no pair of weights exceeds 16 bits: 127 × (127 + 127) = 32 258."""

FINALISTS = 8
FAR_BELOW = -1e30
AFTER_RELU = "ffn_W2"  # its inputs are never below 0


class Columns(NamedTuple):
    """An 8-bit weight (in, out), and the scale of each column."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


class UnsignedInputs(NamedTuple):
    """States that were rounded to 8 bits, with the names of their scale and their zero."""

    values: str
    scale: str
    zero: str


class Int8Layers(Layers):
    """Layers in int8."""

    device = CPU

    def linear(self, graph: GraphBuilder, states: str, *names: str) -> list[str]:
        multiplier = self._model.inputs[names[0]]
        if any(self._model.inputs[name] != multiplier for name in names):
            return [self.linear(graph, states, name)[0] for name in names]
        zero = SIGNED_ZERO
        if names[0].endswith(AFTER_RELU):
            zero = 0
            multiplier *= 2  # the same largest input in 255 steps instead of 127
        inputs = _unsigned(graph, states, multiplier, zero)
        columns = [within_pair_limit(self._model.weights[name]) for name in names]
        name = joined(names)
        weight = graph.weight(f"{name}.int8", np.concatenate([part.values for part in columns], axis=1))
        scales = np.concatenate([part.scales for part in columns])
        product = graph.add(
            "MatMulIntegerToFloat",
            inputs.values,
            weight,
            inputs.scale,
            graph.weight(f"{name}.scales", scales),
            inputs.zero,
            graph.weight(f"zeros_{len(scales)}", np.zeros(len(scales), np.int8)),
            *self._bias_of(graph, names),
            domain=MICROSOFT,
        )
        return self._split(graph, product, names)

    def choices(self, graph: GraphBuilder, ids: str) -> WordChoices:
        """The vectors are int8 (rows, width, choices), the biases in units of their product with the inputs."""
        table = self._model.weights[WORDS]
        vectors = graph.add("Gather", graph.weight(WORDS, table.values), ids)
        unit = self._output_multiplier * float(table.multiplier)
        # The zero of the inputs adds this much to every product.
        surplus = ZERO_OF_7_BITS * table.values.sum(axis=1, dtype=np.int64)
        biases = self._model.vectors[OUTPUT_BIAS][0].astype(np.float64) * unit - surplus
        found = graph.add("Gather", graph.weight("word_biases", biases), ids)
        return WordChoices(
            ids, graph.add("Transpose", vectors, perm=[0, 2, 1]), _without_filling(graph, found, ids)
        )

    def best(self, graph: GraphBuilder, states: str, choices: WordChoices) -> Chosen:
        """The best of the `FINALISTS` in int8, by their scores in float32.

        For one unsigned row whose zero is 0, ONNX Runtime has a kernel that reads the weights as they are: 1 504
        choices take 4 to 6 µs a row, and 20 to 70 in float32.
        """
        inputs = _unsigned(graph, states, self._output_multiplier, ZERO_OF_7_BITS)
        row = graph.add(
            "Clip", inputs.values, "", graph.weight("largest", np.array(LARGEST_OF_7_BITS, np.uint8))
        )
        product = graph.add("MatMulInteger", graph.add("Unsqueeze", row, graph.ints(1)), choices.vectors)
        sums = graph.add("Cast", graph.add("Squeeze", product, graph.ints(1)), to=onnx.TensorProto.FLOAT)
        scores = graph.add("Add", sums, choices.biases)
        _, places = graph.add_many("TopK", 2, scores, graph.ints(FINALISTS), axis=1)
        finalists = graph.add("GatherElements", choices.ids, places, axis=1)
        return super().best(graph, states, super().choices(graph, finalists))

    @property
    def _output_multiplier(self) -> float:
        """Of the inputs of the output layer: half of the stored one, which is for 8 bits."""
        return self._model.inputs[WORDS] / 2

    def _bias_of(self, graph: GraphBuilder, names: Sequence[str]) -> list[str]:
        return [self._biases(graph, names)] if any(self._has_bias(name) for name in names) else []


def _unsigned(graph: GraphBuilder, states: str, multiplier: float, zero: int) -> UnsignedInputs:
    scale_name = graph.weight(f"input_scale_{multiplier!r}", np.array(1 / multiplier, np.float32))
    zero_name = graph.weight(f"input_zero_{zero}", np.array(zero, np.uint8))
    return UnsignedInputs(graph.add("QuantizeLinear", states, scale_name, zero_name), scale_name, zero_name)


def _without_filling(graph: GraphBuilder, biases: str, ids: str) -> str:
    """``biases``, far below all scores for the zeros that fill up a list: they would be finalists beside their like."""
    real = graph.add("Cast", ids, to=onnx.TensorProto.BOOL)
    others = graph.add("Where", real, biases, graph.number(FAR_BELOW))
    width = graph.add("Shape", ids, start=1, end=2)
    return graph.add(
        "Concat",
        graph.add("Slice", biases, graph.ints(0), graph.ints(1), graph.ints(1)),
        graph.add("Slice", others, graph.ints(1), width, graph.ints(1)),
        axis=1,
    )


def within_pair_limit(weight: Quantized) -> Columns:
    """The weight with coarser steps in each column that has a pair over the limit; the others are unchanged.

    In the published models 0.03 % of all pairs exceed it, in 4 % of the columns.
    """
    values = weight.values.astype(np.float64)
    scales = np.full(values.shape[1], 1 / np.float64(weight.multiplier))
    found = weight.values.copy()
    for column in np.flatnonzero(largest_pairs(weight.values) > PAIR_LIMIT):
        factor = PAIR_LIMIT / largest_pairs(weight.values[:, column : column + 1])[0]
        coarser = np.rint(values[:, column] * factor).astype(np.int8)
        while largest_pairs(coarser[:, None])[0] > PAIR_LIMIT:  # by rounding up
            factor *= 1 - 1 / PAIR_LIMIT
            coarser = np.rint(values[:, column] * factor).astype(np.int8)
        found[:, column] = coarser
        scales[column] /= factor
    return Columns(found, scales.astype(np.float32))


def largest_pairs(values: NDArray[np.int8]) -> NDArray[np.int16]:
    """For each column the largest magnitude of a sum of rows 2k and 2k + 1."""
    even = values[: len(values) // 2 * 2].astype(np.int16)
    sums: NDArray[np.int16] = np.abs(even[::2] + even[1::2]).max(axis=0, initial=0)
    return sums
