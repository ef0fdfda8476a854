"""A decoder of the Llama family in plain NumPy: one text, all tokens anew for each step, no batch, no cache."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class NumpyOptions(NamedTuple):
    """What is not in the arrays. For each layer: its window (0: none), and whether it has rotary positions."""

    heads: int
    kv_heads: int
    frequencies: Array
    interleaved: bool
    windows: Sequence[int]
    rotary: Sequence[bool]
    epsilon: float = 1e-5


class NumpyLlama:
    """The formulas of Touvron et al. 2023, Ainslie et al. 2023 and Su et al. 2021, in float64."""

    def __init__(self, arrays: Mapping[str, NDArray[np.float32]], options: NumpyOptions) -> None:
        """``arrays``: by their names in GGUF files, matrices as (out, in)."""
        self._arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
        self._options = options

    def scores(self, tokens: Sequence[int]) -> Array:
        """After each token, (tokens, words)."""
        states = self._arrays["token_embd.weight"][list(tokens)]
        for layer in range(len(self._options.windows)):
            name = f"blk.{layer}."
            normed = self._norm(states, f"{name}attn_norm")
            states = states + self._attention(layer, normed)
            normed = self._norm(states, f"{name}ffn_norm")
            gate = self._linear(normed, f"{name}ffn_gate")
            opened = gate / (1 + np.exp(-gate)) * self._linear(normed, f"{name}ffn_up")
            states = states + self._linear(opened, f"{name}ffn_down")
        head = self._arrays.get("output.weight", self._arrays["token_embd.weight"])
        return self._norm(states, "output_norm") @ head.T

    def generate(self, prompt: Sequence[int], count: int) -> list[int]:
        """The best tokens after ``prompt``."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.scores(tokens)[-1].argmax()))
        return tokens[len(prompt) :]

    def _attention(self, layer: int, normed: Array) -> Array:
        options = self._options
        name = f"blk.{layer}."
        queries, keys, values = (
            self._linear(normed, f"{name}attn_{part}").reshape(len(normed), heads, -1)
            for part, heads in (("q", options.heads), ("k", options.kv_heads), ("v", options.kv_heads))
        )
        if f"{name}attn_q_norm.weight" in self._arrays:
            queries = self._norm(queries, f"{name}attn_q_norm")
            keys = self._norm(keys, f"{name}attn_k_norm")
        if options.rotary[layer]:
            queries, keys = self._turned(queries), self._turned(keys)
        mixed = np.empty_like(queries)
        for head in range(options.heads):
            own = head * options.kv_heads // options.heads
            for place in range(len(normed)):
                first = max(0, place + 1 - options.windows[layer]) if options.windows[layer] else 0
                seen = slice(first, place + 1)
                logits = keys[seen, own] @ queries[place, head] / math.sqrt(queries.shape[-1])
                weights = np.exp(logits - logits.max())
                mixed[place, head] = weights / weights.sum() @ values[seen, own]
        return self._linear(mixed.reshape(len(normed), -1), f"{name}attn_output")

    def _turned(self, heads: Array) -> Array:
        angles = np.arange(len(heads))[:, None, None] * self._options.frequencies
        half = heads.shape[-1] // 2
        turned = np.empty_like(heads)
        if self._options.interleaved:
            first, second = slice(0, None, 2), slice(1, None, 2)
        else:
            first, second = slice(0, half), slice(half, None)
        turned[..., first] = heads[..., first] * np.cos(angles) - heads[..., second] * np.sin(angles)
        turned[..., second] = heads[..., first] * np.sin(angles) + heads[..., second] * np.cos(angles)
        return turned

    def _linear(self, states: Array, name: str) -> Array:
        return states @ self._arrays[f"{name}.weight"].T + self._arrays.get(f"{name}.bias", 0.0)

    def _norm(self, states: Array, name: str) -> Array:
        mean = (states**2).mean(-1, keepdims=True)
        return states / np.sqrt(mean + self._options.epsilon) * self._arrays[f"{name}.weight"]
