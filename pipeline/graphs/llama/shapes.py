"""Checks that a file has the tensors which its settings ask for, and no others."""

from collections.abc import Iterable, Mapping

from ...errors import ModelError
from .config import DecoderConfig, matrices_of, needed_of, norms_of, optional_of

SHOWN = 4
PAIRS = (("attn_q_norm.weight", "attn_k_norm.weight"), ("ffn_gate.bias", "ffn_up.bias"))
"""Tensors of a layer of which a model has both or none."""


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], config: DecoderConfig, where: str, ignored: Iterable[str] = ()
) -> None:
    """Raise ModelError for a tensor that is missing, not known, or of another shape."""
    required: dict[str, tuple[int, ...]] = {
        **matrices_of(config),
        **{name: (length,) for name, length in norms_of(config).items()},
        **needed_of(config),
    }
    known = required | optional_of(config)
    for name in required:
        if name not in shapes:
            raise ModelError(f"{where} lacks the tensor {name}.")
    if more := sorted(shapes.keys() - known.keys() - set(ignored)):
        shown = ", ".join(more[:SHOWN]) + (f" and {len(more) - SHOWN} more" if len(more) > SHOWN else "")
        raise ModelError(f"{where} has tensors that no decoder of the Llama family has: {shown}.")
    for name in shapes.keys() & known.keys():
        if shapes[name] != known[name]:
            raise ModelError(
                f"{where} has {name} of the shape {shapes[name]}, and its settings ask for {known[name]}."
            )
    for layer in range(config.layers):
        for pair in PAIRS:
            there = [f"blk.{layer}.{name}" in shapes for name in pair]
            if any(there) and not all(there):
                raise ModelError(f"{where} has only one of {pair[0]} and {pair[1]} in layer {layer}.")
