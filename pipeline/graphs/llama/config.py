"""The sizes and the kinds of layers of one decoder: what differs between the models of the family."""

from typing import NamedTuple, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ...errors import UsageError
from .blocks import Floats, Weight

LONGEST_CONTEXT = 32_768
"""Tokens of a conversation: a longer context of a model is cut to this, so its tables of positions stay small."""

LARGEST = 1_000_000
MOST_LAYERS = 1_000
"""The names of all tensors of a million layers, which a file of a kilobyte may claim, took 3.5 GB and two minutes."""

NOPE_INTERVAL = 4
"""Every fourth layer of SmolLM3 has no rotary positions ("NoPE")."""


NEEDED = {
    "qwen2": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "qwen3": ("attn_q_norm.weight", "attn_k_norm.weight"),
}


class DecoderConfig(Struct, frozen=True, kw_only=True):
    """What a graph is built from, besides the tensors."""

    family: str
    width: int
    wide: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    words: int
    context: int
    epsilon: float
    interleaved: bool
    """Whether rotary positions turn pairs of neighbors, as in most GGUF files, or of halves."""
    windows: tuple[int, ...]
    """For each layer, how many tokens it attends to; 0 means all."""
    rotary: tuple[bool, ...]
    """For each layer, whether its queries and keys get rotary positions."""

    def width_of(self, part: str) -> int:
        """The outputs of queries, keys or values: part is q, k or v."""
        return self.head_width * (self.heads if part == "q" else self.kv_heads)


class Tensors(Protocol):
    """The tensors of one model by their names in GGUF files, decoded when they are asked for."""

    def has(self, name: str) -> bool: ...

    def weight(self, name: str) -> Weight:
        """A matrix (out, in). Raises ModelError for values that are not finite."""
        ...

    def vector(self, name: str) -> Floats: ...

    def bits(self, name: str) -> int:
        """In how many bits a matrix is stored; 32 for any kind of floating-point number."""
        ...


class DecoderModel(NamedTuple):
    """One model, complete and checked. ``frequencies``: of the rotary positions, in radians per token."""

    config: DecoderConfig
    frequencies: NDArray[np.float64]
    tensors: Tensors


def check_sizes(config: DecoderConfig, where: str) -> None:
    """Raise UsageError with the size that cannot be right."""
    for name in ("width", "wide", "layers", "heads", "kv_heads", "head_width", "words", "context"):
        value = getattr(config, name)
        if not 0 < value <= LARGEST:
            raise UsageError(f"{where} has {name} = {value}; it must be between 1 and {LARGEST}.")
    if config.heads % config.kv_heads:
        raise UsageError(
            f"{where} has {config.heads} heads, which its {config.kv_heads} heads of keys and values do not divide."
        )
    if config.head_width % 8:
        raise UsageError(
            f"{where} has heads of the width {config.head_width}; only multiples of 8 are supported."
        )
    if outside := next((window for window in config.windows if not 0 <= window <= LARGEST), None):
        raise UsageError(
            f"{where} has a sliding window of {outside}; it must be between 1 and {LARGEST}, or 0 for none."
        )
    if not 0 < config.epsilon < 1:
        raise UsageError(f"{where} has the epsilon {config.epsilon}; it must be between 0 and 1.")


def matrices_of(config: DecoderConfig) -> dict[str, tuple[int, int]]:
    """The name and the shape (out, in) of each matrix that every model of the family has."""
    width, heads = config.width, config.heads * config.head_width
    found = {"token_embd.weight": (config.words, width)}
    for layer in range(config.layers):
        block = f"blk.{layer}."
        for part in "qkv":
            found[f"{block}attn_{part}.weight"] = (config.width_of(part), width)
        found[f"{block}attn_output.weight"] = (width, heads)
        found[f"{block}ffn_gate.weight"] = (config.wide, width)
        found[f"{block}ffn_up.weight"] = (config.wide, width)
        found[f"{block}ffn_down.weight"] = (width, config.wide)
    return found


def norms_of(config: DecoderConfig) -> dict[str, int]:
    """The name and the length of each normalization that every model of the family has."""
    found = {"output_norm.weight": config.width}
    for layer in range(config.layers):
        found[f"blk.{layer}.attn_norm.weight"] = config.width
        found[f"blk.{layer}.ffn_norm.weight"] = config.width
    return found


def needed_of(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Of those that only some models have, what every model of this family has: without it, it would be another one."""
    needed = NEEDED.get(config.family, ())
    return {name: shape for name, shape in optional_of(config).items() if name.endswith(needed)}


def optional_of(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """The name and the shape of each tensor that some models have: the head, biases, norms of queries and keys."""
    found: dict[str, tuple[int, ...]] = {"output.weight": (config.words, config.width)}
    for layer in range(config.layers):
        block = f"blk.{layer}."
        for part in "qkv":
            found[f"{block}attn_{part}.bias"] = (config.width_of(part),)
        for part in "qk":
            found[f"{block}attn_{part}_norm.weight"] = (config.head_width,)
        found[f"{block}attn_output.bias"] = (config.width,)
        found[f"{block}ffn_gate.bias"] = (config.wide,)
        found[f"{block}ffn_up.bias"] = (config.wide,)
        found[f"{block}ffn_down.bias"] = (config.width,)
    return found
