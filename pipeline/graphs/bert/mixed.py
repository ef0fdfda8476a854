"""The int8 encoder with some linear layers in float32, and the one whose activations are measured in each run."""

from collections.abc import Collection

from .float32 import PARTS, BertConfig, BertEncoder, Pooling, Weights
from .int8 import Calibration, Int8BertEncoder


class MixedBertEncoder(Int8BertEncoder):
    """Int8BertEncoder whose layers ``kept`` stay in float32; query, key and value under the name of query."""

    def __init__(
        self,
        config: BertConfig,
        weights: Weights,
        pooling: Pooling,
        calibration: Calibration,
        kept: Collection[str],
    ) -> None:
        super().__init__(config, weights, pooling, calibration)
        self._kept = frozenset(kept)
        self._added = ""  # the mask that is added to the scores of an attention in float32

    def _attention_mask(self, mask: str) -> str:
        self._added = BertEncoder._attention_mask(self, mask)
        return super()._attention_mask(mask)

    def _attention(self, states: str, mask: str, prefix: str) -> str:
        if f"{prefix}attention.self.{PARTS[0]}" in self._kept:
            return BertEncoder._attention(self, states, self._added, prefix)
        return super()._attention(states, mask, prefix)

    def _projected(self, states: str, prefix: str) -> list[str]:
        if f"{prefix}attention.self.{PARTS[0]}" in self._kept:
            return BertEncoder._projected(self, states, prefix)
        return super()._projected(states, prefix)

    def _linear(self, states: str, name: str) -> str:
        block, _, part = name.rpartition(".")
        if (f"{block}.{PARTS[0]}" if part in PARTS else name) in self._kept:
            return BertEncoder._linear(self, states, name)
        return super()._linear(states, name)


class DynamicBertEncoder(Int8BertEncoder):
    """Int8BertEncoder that finds the scale of each activation in the batch itself, and needs no calibration of them.

    An answer then depends on the other rows of its batch.
    """

    def _activation(self, states: str, name: str) -> tuple[str, str, str]:
        quantized, scale, zero = self._graph.add_many("DynamicQuantizeLinear", 3, self._tamed(states, name))
        return quantized, scale, zero
