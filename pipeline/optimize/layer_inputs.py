"""The inputs of the linear layers of a BERT encoder, computed in NumPy for the calibration of int8.

float64 and not a session: ONNX Runtime's float32 kernels differ between kinds of CPU by about 1e-6,
and these inputs decide how the int8 weights are rounded. In float64 the differences are near 1e-14.
`optimize/quantize` rounds the inputs to a grid that is much coarser; then every CPU gets the same
numbers.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ..graphs.bert.float32 import PARTS, BertConfig, Weights

Numbers = NDArray[np.float64]
Windows = Sequence[Sequence[int]]
Named = tuple[str, Numbers]

# Abramowitz and Stegun, formula 7.1.26: erf within 1.5e-7, which is float32's own precision.
ERF_STEP = 0.3275911
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


def layer_inputs(config: BertConfig, weights: Weights, chunks: Sequence[Windows]) -> Iterator[Named]:
    """(name of a layer, its inputs (tokens, in)) for each layer and each chunk of windows of token
    ids.

    Layers with the same input come once, under the name of the first: query, key and value share
    query's. Only one layer at a time is held in float64.
    """
    states = [_embedded(config, weights, windows) for windows in chunks]
    for number in range(config.num_hidden_layers):
        prefix = f"encoder.layer.{number}."
        layer = {name: w.astype(np.float64) for name, w in weights.items() if name.startswith(prefix)}
        for at, windows in enumerate(chunks):
            states[at] = yield from _layer(config, layer, prefix, states[at], _spans(windows))


def _layer(
    config: BertConfig, layer: Weights, prefix: str, states: Numbers, spans: Sequence[slice]
) -> Generator[Named, None, Numbers]:
    first = f"{prefix}attention.self.{PARTS[0]}"
    yield first, states
    parts = [_linear(layer, f"{prefix}attention.self.{part}", states) for part in PARTS]
    mixed = np.concatenate(
        [_attended(config.num_attention_heads, *(p[span] for p in parts)) for span in spans]
    )
    name = prefix + "attention.output.dense"
    yield name, mixed
    states = _norm(config, layer, prefix + "attention.output.LayerNorm", _linear(layer, name, mixed) + states)
    name = prefix + "intermediate.dense"
    yield name, states
    wide = _gelu(_linear(layer, name, states))
    name = prefix + "output.dense"
    yield name, wide
    return _norm(config, layer, prefix + "output.LayerNorm", _linear(layer, name, wide) + states)


def _embedded(config: BertConfig, weights: Weights, windows: Windows) -> Numbers:
    ids = np.concatenate([np.asarray(window, np.intp) for window in windows])
    places = np.concatenate([np.arange(len(window)) for window in windows])
    states = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    states += weights["embeddings.position_embeddings.weight"][places]
    states += weights["embeddings.token_type_embeddings.weight"][0]
    return _norm(config, weights, "embeddings.LayerNorm", states)


def _spans(windows: Windows) -> list[slice]:
    """The rows of each window among those of its chunk."""
    ends = accumulate((len(window) for window in windows), initial=0)
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _attended(heads: int, query: Numbers, key: Numbers, value: Numbers) -> Numbers:
    """Multi-head attention in one window, without the output projection."""
    length, width = query.shape
    q, k, v = (part.reshape(length, heads, width // heads).transpose(1, 0, 2) for part in (query, key, value))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(width // heads)
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    mixed: Numbers = (shares @ v).transpose(1, 0, 2).reshape(length, width)
    return mixed


def _linear(weights: Mapping[str, Numbers], name: str, states: Numbers) -> Numbers:
    out: Numbers = states @ weights[name + ".weight"].T + weights[name + ".bias"]
    return out


def _norm(config: BertConfig, weights: Weights, name: str, states: Numbers) -> Numbers:
    centered = states - states.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centered).mean(axis=1, keepdims=True) + config.layer_norm_eps)
    scaled: Numbers = centered / spread * weights[name + ".weight"] + weights[name + ".bias"]
    return scaled


def _gelu(states: Numbers) -> Numbers:
    size = np.abs(states) * np.sqrt(0.5)
    step = 1 / (1 + ERF_STEP * size)
    tail = np.polyval((*ERF, 0.0), step) * np.exp(-np.square(size))
    gelu: Numbers = 0.5 * states * (1 + np.copysign(1 - tail, states))
    return gelu
