"""The layers of a BERT encoder in NumPy, in float64: what calibration and pruning compute with.

float64 and not a session: ONNX Runtime's float32 kernels differ between kinds of CPU by about 1e-6. In float64
the differences are near 1e-14.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...graphs.bert.distances import added_scores
from ...graphs.bert.families import bias_of
from ...graphs.bert.float32 import BertConfig, Weights

Numbers = NDArray[np.float64]
Windows = Sequence[Sequence[int]]
Layer = Mapping[str, Numbers]

# Abramowitz and Stegun, formula 7.1.26: erf within 1.5e-7, which is float32's own precision.
ERF_STEP = 0.3275911
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


class EncoderWeights(NamedTuple):
    """What an encoder is made of."""

    config: BertConfig
    weights: Weights


def prefix_of(number: int) -> str:
    """The beginning of the names of a layer's weights."""
    return f"encoder.layer.{number}."


def layer_of(weights: Weights, number: int) -> dict[str, Numbers]:
    """The weights of one layer."""
    prefix = prefix_of(number)
    return {name: w.astype(np.float64) for name, w in weights.items() if name.startswith(prefix)}


def embedded(config: BertConfig, weights: Weights, windows: Windows) -> Numbers:
    """The inputs of the first layer for all tokens of the windows; (tokens, hidden_size)."""
    ids = np.concatenate([np.asarray(window, np.intp) for window in windows])
    places = np.concatenate([np.arange(len(window)) for window in windows])
    states = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    states += weights["embeddings.position_embeddings.weight"][places]
    states += weights["embeddings.token_type_embeddings.weight"][0]
    return norm(config, weights, "embeddings.LayerNorm", states)


def spans_of(windows: Windows) -> list[slice]:
    """The rows of each window among those of all."""
    ends = accumulate((len(window) for window in windows), initial=0)
    return [slice(start, stop) for start, stop in pairwise(ends)]


def bias_by_bucket(weights: Layer, prefix: str) -> Numbers | None:
    """What the layer adds to its scores, see `graphs/bert/distances`; None if nothing."""
    return weights.get(bias_of(prefix))


def attended(
    heads: int, query: Numbers, key: Numbers, value: Numbers, bias: Numbers | None = None
) -> Numbers:
    """Multi-head attention in one window, without the output projection; all (tokens, heads x size)."""
    length, width = query.shape
    q, k, v = (part.reshape(length, heads, width // heads).transpose(1, 0, 2) for part in (query, key, value))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(width // heads)
    if bias is not None:
        scores = scores + added_scores(bias, length)
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    mixed: Numbers = (shares @ v).transpose(1, 0, 2).reshape(length, width)
    return mixed


def linear(weights: Layer, name: str, states: Numbers) -> Numbers:
    """``states`` x weight + bias of the layer called ``name``."""
    out: Numbers = states @ weights[name + ".weight"].T + weights[name + ".bias"]
    return out


def norm(config: BertConfig, weights: Weights, name: str, states: Numbers) -> Numbers:
    """The layer normalization called ``name``."""
    centered = states - states.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centered).mean(axis=1, keepdims=True) + config.layer_norm_eps)
    scaled: Numbers = centered / spread * weights[name + ".weight"] + weights[name + ".bias"]
    return scaled


def gelu(states: Numbers) -> Numbers:
    """x times the normal distribution function of x."""
    size = np.abs(states) * np.sqrt(0.5)
    step = 1 / (1 + ERF_STEP * size)
    tail = np.polyval((*ERF, 0.0), step) * np.exp(-np.square(size))
    out: Numbers = 0.5 * states * (1 + np.copysign(1 - tail, states))
    return out
