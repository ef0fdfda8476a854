"""A reference BERT encoder in numpy, from the formulas: one text at a time, without padding."""

from collections.abc import Mapping, Sequence
from math import erf

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def encode(weights: Mapping[str, NDArray[np.float32]], ids: Sequence[int], heads: int, layers: int) -> Vector:
    """The normalized mean of the last hidden states, shape (hidden,)."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    states = w["embeddings.word_embeddings.weight"][list(ids)]
    states = states + w["embeddings.position_embeddings.weight"][: len(ids)]
    states = _norm(w, "embeddings.LayerNorm", states + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        attended = _linear(w, prefix + "attention.output.dense", _attention(w, prefix, states, heads))
        states = _norm(w, prefix + "attention.output.LayerNorm", states + attended)
        wide = _gelu(_linear(w, prefix + "intermediate.dense", states))
        states = _norm(w, prefix + "output.LayerNorm", states + _linear(w, prefix + "output.dense", wide))
    mean = states.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _attention(w: Mapping[str, Vector], prefix: str, states: Vector, heads: int) -> Vector:
    parts = [_linear(w, f"{prefix}attention.self.{name}", states) for name in ("query", "key", "value")]
    mixed = []
    for query, key, value in zip(*(np.split(part, heads, axis=1) for part in parts), strict=True):
        scores = np.exp(query @ key.T / np.sqrt(query.shape[1]))
        mixed.append(scores / scores.sum(axis=1, keepdims=True) @ value)
    return np.concatenate(mixed, axis=1)


def _linear(w: Mapping[str, Vector], name: str, states: Vector) -> Vector:
    return states @ w[name + ".weight"].T + w[name + ".bias"]


def _norm(w: Mapping[str, Vector], name: str, states: Vector) -> Vector:
    centered = states - states.mean(axis=1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-12)
    return scaled * w[name + ".weight"] + w[name + ".bias"]


def _gelu(values: Vector) -> Vector:
    return values * 0.5 * (1 + np.vectorize(erf)(values / np.sqrt(2)))
