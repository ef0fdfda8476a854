"""Queries that are stored with the scale of the attention: then the attention itself multiplies by 1."""

from .blocks import Blocks, Floats, Weight
from .config import DecoderModel, Tensors


def with_scaled_queries(model: DecoderModel) -> DecoderModel:
    """The model whose queries are divided by the square root of the width of a head, to be used with the scale 1.

    Whole numbers of 4 or 8 bits stay what they are: their scales and offsets are divided. With widths of heads of 16,
    64 or 256 the divisor is a power of two, and no bit of a product changes.
    """
    return model._replace(tensors=_ScaledQueries(model.tensors, model.config.head_width**-0.5))


class _ScaledQueries:
    """`Tensors` whose last operation on queries has the factor: their norm, or their layer and its bias."""

    def __init__(self, tensors: Tensors, factor: float) -> None:
        self._tensors = tensors
        self._factor = factor

    def has(self, name: str) -> bool:
        return self._tensors.has(name)

    def weight(self, name: str) -> Weight:
        weight = self._tensors.weight(name)
        if not name.endswith(".attn_q.weight") or self._has_norm(name):
            return weight
        if isinstance(weight, Blocks):
            return weight._replace(scales=weight.scales * self._factor, offsets=weight.offsets * self._factor)
        return weight * self._factor

    def vector(self, name: str) -> Floats:
        vector = self._tensors.vector(name)
        if name.endswith(".attn_q_norm.weight") or (
            name.endswith(".attn_q.bias") and not self._has_norm(name)
        ):
            return vector * self._factor
        return vector

    def bits(self, name: str) -> int:
        return self._tensors.bits(name)

    def _has_norm(self, name: str) -> bool:
        layer, _ = name.rsplit(".attn_q.", 1)
        return self.has(f"{layer}.attn_q_norm.weight")
