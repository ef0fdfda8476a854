"""The layers of a Marian translator with int8 matrix products, on the grid that the model file stores.

Weights are the stored ones, signed, with one scale per column. Inputs are unsigned, with the stored multiplier of
their layer as a constant scale, so that no row of a batch depends on the others. The output layer stays in float32:
each row has its own choices of words, and its product is a small part of the time. The fused operators are those
of ONNX Runtime (domain com.microsoft) for a CPU.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..builder import MICROSOFT, GraphBuilder
from ..devices import CPU
from .items import Quantized
from .layers import Layers, joined

PAIR_LIMIT = 128
"""Of two weights of one sign in rows 2k and 2k + 1: a CPU with AVX2 and without VNNI adds their products with two
inputs in 16 bits, and 255 × 128 = 32 640 is below 32 767 (decision 10)."""

SIGNED_ZERO = 128
AFTER_RELU = "ffn_W2"  # its inputs are never below 0


class Columns(NamedTuple):
    """An 8-bit weight (in, out), and the scale of each column."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


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
        scale_name = graph.weight(f"input_scale_{multiplier!r}", np.array(1 / multiplier, np.float32))
        zero_name = graph.weight(f"input_zero_{zero}", np.array(zero, np.uint8))
        quantized = graph.add("QuantizeLinear", states, scale_name, zero_name)
        columns = [within_pair_limit(self._model.weights[name]) for name in names]
        name = joined(names)
        weight = graph.weight(f"{name}.int8", np.concatenate([part.values for part in columns], axis=1))
        scales = np.concatenate([part.scales for part in columns])
        product = graph.add(
            "MatMulIntegerToFloat",
            quantized,
            weight,
            scale_name,
            graph.weight(f"{name}.scales", scales),
            zero_name,
            graph.weight(f"zeros_{len(scales)}", np.zeros(len(scales), np.int8)),
            *self._bias_of(graph, names),
            domain=MICROSOFT,
        )
        return self._split(graph, product, names)

    def _bias_of(self, graph: GraphBuilder, names: Sequence[str]) -> list[str]:
        return [self._biases(graph, names)] if any(self._has_bias(name) for name in names) else []


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
