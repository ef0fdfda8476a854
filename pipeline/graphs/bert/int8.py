"""The BERT encoder with int8 matrix products: signed weights with one scale per column, and activations
with one scale per layer, which are constants of the graph.

With constant scales no row of a batch depends on the others. The fused operators are those of ONNX
Runtime (domain com.microsoft) for a CPU. All other operators use float32.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import ModelError
from ..builder import MICROSOFT
from ..devices import CPU
from .float32 import PARTS, BertConfig, BertEncoder, Pooling, Weights

Scales = Mapping[str, NDArray[np.float32]]
"""By the name of a linear layer: the divisors (in,) of its input channels before they are quantized."""

Quantizer = Callable[[str, NDArray[np.float32]], tuple[NDArray[np.int8], NDArray[np.float32]]]
"""(name of a layer, tamed weight (in, out)) → (weight as int8, scale of each column).

The weights of query, key and value are one matrix, side by side, under the name of query.
"""

LARGEST = 127.0
PAIR_LIMIT = 128  # of two weights of one sign in rows 2k and 2k + 1, see `optimize/compression/gptq`


class Calibration(NamedTuple):
    """What was measured on the inputs of the linear layers, by the names of the layers."""

    ranges: Mapping[str, tuple[float, float]]  # the smallest and the largest input after taming
    scales: Scales  # only of the layers that are tamed, see `optimize/compression/calibration`
    quantize: Quantizer


def column_scales(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each column of ``weight`` (in, out) the scale that maps its largest magnitude to 127."""
    scales: NDArray[np.float32] = np.maximum(
        np.abs(weight).max(axis=0), np.finfo(np.float32).tiny
    ) / np.float32(LARGEST)
    return scales.astype(np.float32)


def pairs_over_limit(values: NDArray[np.int8]) -> int:
    """How many pairs of rows 2k and 2k + 1 of ``values`` (in, out) a CPU without VNNI may add wrongly."""
    pairs = values[: len(values) // 2 * 2].astype(np.int16).reshape(-1, 2, values.shape[1])
    return int(np.sum(np.abs(pairs.sum(axis=1)) > PAIR_LIMIT))


class Int8BertEncoder(BertEncoder):
    """BertEncoder in int8, with the scales and the rounding of a calibration."""

    device = CPU

    def __init__(
        self, config: BertConfig, weights: Weights, pooling: Pooling, calibration: Calibration
    ) -> None:
        super().__init__(config, weights, pooling)
        self._calibration = calibration

    def _word_table(self) -> list[str]:
        """The vectors of the tokens in 8 bits, up to a number that is added to all channels of a token.

        The normalization after it removes such a number. So the table needs no zero points, and each
        row uses all 256 steps between its smallest and its largest value.
        """
        table = self._weights["embeddings.word_embeddings.weight"]
        low = table.min(axis=1, keepdims=True)
        steps = np.maximum((table.max(axis=1, keepdims=True) - low) / 255, np.finfo(np.float32).tiny)
        values = np.rint((table - low) / steps).astype(np.uint8)
        return [self._graph.weight("words", values), self._graph.weight("word_scales", steps)]

    def _gathered(self, words: list[str], ids: str) -> str:
        graph = self._graph
        rows, scales = (graph.add("Gather", table, ids) for table in words)
        return graph.add("Mul", graph.add("Cast", rows, to=onnx.TensorProto.FLOAT), scales)

    def _attention_mask(self, mask: str) -> str:
        if self._config.relative_attention_num_buckets:
            return super()._attention_mask(mask)
        return self._graph.add("Cast", mask, to=onnx.TensorProto.INT32)

    def _attention(self, states: str, mask: str, prefix: str) -> str:
        """The projections of query, key and value as one product, and the attention, in one operator.

        That operator adds nothing to the scores, so with distances the attention is made of float32 operators.
        """
        if self._config.relative_attention_num_buckets:
            return super()._attention(states, mask, prefix)
        graph = self._graph
        names = [f"{prefix}attention.self.{part}" for part in PARTS]
        together = np.concatenate([self._matrix(name, names[0]) for name in names], axis=1)
        weight, scale, zero = self._quantized(names[0], together)
        bias = np.concatenate([self._weights[name + ".bias"] for name in names])
        quantized, states_scale, states_zero = self._activation(states, names[0])
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

    def _projected(self, states: str, prefix: str) -> list[str]:
        product = self._product(states, [f"{prefix}attention.self.{part}" for part in PARTS])
        return self._graph.add_many("Split", len(PARTS), product, axis=-1, num_outputs=len(PARTS))

    def _linear(self, states: str, name: str) -> str:
        return self._product(states, [name])

    def _product(self, states: str, names: Sequence[str]) -> str:
        """One product with the weights of the layers ``names`` side by side, which have the same inputs."""
        graph = self._graph
        first = names[0]
        bias = graph.weight(
            first + ".bias", np.concatenate([self._weights[name + ".bias"] for name in names])
        )
        together = np.concatenate([self._matrix(name, first) for name in names], axis=1)
        weight, scale, zero = self._quantized(first, together)
        quantized, states_scale, states_zero = self._activation(states, first)
        return graph.add(
            "MatMulIntegerToFloat",
            quantized,
            weight,
            states_scale,
            scale,
            states_zero,
            zero,
            bias,
            domain=MICROSOFT,
        )

    def _activation(self, states: str, name: str) -> tuple[str, str, str]:
        """The tamed inputs of a layer as uint8; returns the names of values, scale and zero point."""
        graph = self._graph
        smallest, largest = self._calibration.ranges[name]
        low = min(smallest, 0.0)
        width = max(max(largest, 0.0) - low, float(np.finfo(np.float32).tiny) * 255)
        scale = np.float32(width / 255)
        scale_name = graph.weight(name + ".input.scale", np.array(scale))
        zero = np.array(np.clip(np.rint(-low / scale), 0, 255), np.uint8)
        zero_name = graph.weight(name + ".input.zero", zero)
        quantized = graph.add("QuantizeLinear", self._tamed(states, name), scale_name, zero_name)
        return quantized, scale_name, zero_name

    def _tamed(self, states: str, name: str) -> str:
        scales = self._calibration.scales
        if name not in scales:
            return states
        return self._graph.add("Mul", states, self._graph.weight(name + ".taming", 1 / scales[name]))

    def _matrix(self, name: str, tamed_as: str) -> NDArray[np.float32]:
        """The weight (in, out); its rows are multiplied by the divisors of ``_tamed``."""
        scales = self._calibration.scales.get(tamed_as)
        weight: NDArray[np.float32] = self._weights[name + ".weight"].T.astype(np.float32)
        return weight if scales is None else weight * scales[:, None]

    def _quantized(self, name: str, weight: NDArray[np.float32]) -> tuple[str, str, str]:
        """Store a weight; returns the names of its int8 values, its scales and its zero points."""
        graph = self._graph
        values, scales = self._calibration.quantize(name, weight)
        if over := pairs_over_limit(values):
            raise ModelError(f"{over} pairs of weights of {name} exceed the pair limit of int8: a defect.")
        zeros = graph.weight(f"zeros_{len(scales)}", np.zeros(len(scales), np.int8))
        return graph.weight(name + ".int8", values), graph.weight(name + ".scale", scales), zeros
