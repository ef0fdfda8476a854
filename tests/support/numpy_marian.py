"""A Marian translator in plain NumPy: one source, one word after the other, no batch."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from support.tiny_marian import Arrays

Array = NDArray[np.float64]


class NumpyMarian:
    """Greedy search with the formulas of Vaswani et al. 2017 and Kim et al. 2019, in float64."""

    def __init__(self, arrays: Arrays, heads: int, layers: tuple[int, int]) -> None:
        self._arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
        self._heads = heads
        self._encoder, self._decoder = ([*range(1, count + 1)] for count in layers)
        self._width = arrays["Wemb"].shape[1]

    def translate(
        self, source: Sequence[int], candidates: Sequence[int], limit: int, prefix: Sequence[int] = ()
    ) -> tuple[list[int], bool]:
        """The tokens after ``prefix``, and whether the translation ended."""
        states = self._encode(source)
        memories = [np.zeros(self._width) for _ in self._decoder]
        vector = np.zeros(self._width)
        tokens = list(prefix)
        for place in range(limit):
            state = self._step(vector, place, memories, states)
            if place < len(prefix):
                token = prefix[place]
            else:
                scores = self._arrays["Wemb"] @ state + self._arrays["decoder_ff_logit_out_b"][0]
                token = max(candidates, key=lambda one: scores[one])
                if token == 0:
                    return tokens[len(prefix) :], True
                tokens.append(token)
            vector = self._arrays["Wemb"][token]
        return tokens[len(prefix) :], False

    def _encode(self, source: Sequence[int]) -> Array:
        states = np.stack([self._placed(self._arrays["Wemb"][token], i) for i, token in enumerate(source)])
        for layer in self._encoder:
            name = f"encoder_l{layer}_"
            states = self._wide(self._attend(states, states, f"{name}self"), name)
        return states

    def _step(self, vector: Array, place: int, memories: list[Array], source: Array) -> Array:
        state = self._placed(vector, place)[None]
        for layer in self._decoder:
            name = f"decoder_l{layer}_"
            kept = 1 / (1 + np.exp(-self._linear(state, f"{name}rnn", "f")))
            memory = kept * memories[layer - 1] + (1 - kept) * self._linear(state, f"{name}rnn", "")
            memories[layer - 1] = memory
            state = self._norm(state + np.maximum(memory, 0), f"{name}rnn_ffn")
            state = self._wide(self._attend(state, source, f"{name}context"), name)
        return state[0]

    def _placed(self, vector: Array, place: int) -> Array:
        half = self._width // 2
        angles = place * np.exp(-np.arange(half) * math.log(10_000) / (half - 1))
        return vector * math.sqrt(self._width) + np.concatenate([np.sin(angles), np.cos(angles)])

    def _attend(self, states: Array, read: Array, name: str) -> Array:
        query, key, value = (
            self._linear(of, name, part).reshape(len(of), self._heads, -1).swapaxes(0, 1)
            for part, of in (("q", states), ("k", read), ("v", read))
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = weights / weights.sum(axis=-1, keepdims=True) @ value
        merged = mixed.swapaxes(0, 1).reshape(len(states), -1)
        return self._norm(states + self._linear(merged, name, "o"), f"{name}_Wo")

    def _wide(self, states: Array, name: str) -> Array:
        wide = np.maximum(self._linear(states, f"{name}ffn", "1"), 0)
        return self._norm(states + self._linear(wide, f"{name}ffn", "2"), f"{name}ffn_ffn")

    def _linear(self, states: Array, name: str, part: str) -> Array:
        bias = self._arrays.get(f"{name}_b{part}", np.zeros(1))
        return states @ self._arrays[f"{name}_W{part}"] + bias

    def _norm(self, states: Array, name: str) -> Array:
        centered = states - states.mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-9)
        return scaled * self._arrays[f"{name}_ln_scale"] + self._arrays[f"{name}_ln_bias"]
