"""The BERT encoder with int8 matrix products: signed weights with one scale per column, dynamic
activation scales.

The fused operators are those of ONNX Runtime (domain com.microsoft) for a CPU. All other operators
use float32.
"""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from ..builder import MICROSOFT
from ..devices import CPU
from .float32 import PARTS, BertConfig, BertEncoder, Pooling, Weights

Scales = Mapping[str, NDArray[np.float32]]
"""By the name of a linear layer: the divisors (in,) of its input channels before they are quantized."""

Quantizer = Callable[[str, NDArray[np.float32]], tuple[NDArray[np.int8], NDArray[np.float32]]]
"""(name of a layer, tamed weight (in, out)) → (weight as int8, scale of each column).

The weights of query, key and value are one matrix, side by side, under the name of query.
"""


def column_scales(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each column of ``weight`` (in, out) the scale that maps its largest magnitude to 127."""
    scales: NDArray[np.float32] = np.maximum(
        np.abs(weight).max(axis=0), np.finfo(np.float32).tiny
    ) / np.float32(127)
    return scales.astype(np.float32)


def to_nearest(_name: str, weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A Quantizer that does not use the inputs: weight ≈ int8 × scale, symmetric around 0."""
    scales = column_scales(weight)
    return np.round(weight / scales).astype(np.int8), scales


class Int8BertEncoder(BertEncoder):
    """BertEncoder in int8. ``scales`` tame the input channels with outliers, see
    `optimize/quantize`; ``quantize`` rounds the weights.
    """

    device = CPU

    def __init__(
        self,
        config: BertConfig,
        weights: Weights,
        pooling: Pooling,
        scales: Scales,
        quantize: Quantizer = to_nearest,
    ) -> None:
        super().__init__(config, weights, pooling)
        self._scales = scales
        self._quantize = quantize

    def _attention_mask(self, mask: str) -> str:
        return self._graph.add("Cast", mask, to=onnx.TensorProto.INT32)

    def _attention(self, states: str, mask: str, prefix: str) -> str:
        """The projections of query, key and value as one product, and the attention, in one operator."""
        graph = self._graph
        names = [f"{prefix}attention.self.{part}" for part in PARTS]
        together = np.concatenate([self._matrix(name, names[0]) for name in names], axis=1)
        weight, scale, zero = self._quantized(names[0], together)
        bias = np.concatenate([self._weights[name + ".bias"] for name in names])
        quantized, states_scale, states_zero = graph.add_many(
            "DynamicQuantizeLinear", 3, self._tamed(states, names[0])
        )
        return graph.add(
            "QAttention",
            quantized,
            weight,
            graph.weight(prefix + "attention.self.bias", bias),
            states_scale,
            scale,
            mask,
            states_zero,
            zero,
            domain=MICROSOFT,
            num_heads=self._config.num_attention_heads,
        )

    def _linear(self, states: str, name: str) -> str:
        bias = self._graph.weight(name + ".bias", self._weights[name + ".bias"])
        weight, scale, zero = self._quantized(name, self._matrix(name, name))
        return self._graph.add(
            "DynamicQuantizeMatMul", self._tamed(states, name), weight, scale, zero, bias, domain=MICROSOFT
        )

    def _tamed(self, states: str, name: str) -> str:
        if name not in self._scales:
            return states
        return self._graph.add("Mul", states, self._graph.weight(name + ".taming", 1 / self._scales[name]))

    def _matrix(self, name: str, tamed_as: str) -> NDArray[np.float32]:
        """The weight (in, out); its rows are multiplied by the divisors of ``_tamed``."""
        scales = self._scales.get(tamed_as)
        weight: NDArray[np.float32] = self._weights[name + ".weight"].T.astype(np.float32)
        return weight if scales is None else weight * scales[:, None]

    def _quantized(self, name: str, weight: NDArray[np.float32]) -> tuple[str, str, str]:
        """Store a weight; returns the names of its int8 values, its scales and its zero points."""
        graph = self._graph
        values, scales = self._quantize(name, weight)
        zeros = graph.weight(f"zeros_{len(scales)}", np.zeros(len(scales), np.int8))
        return graph.weight(name + ".int8", values), graph.weight(name + ".scale", scales), zeros
