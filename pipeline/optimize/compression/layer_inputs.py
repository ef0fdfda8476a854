"""The inputs of the linear layers of a BERT encoder, computed in NumPy for the calibration of int8.

These inputs decide how the int8 weights are rounded. `calibration` rounds the inputs to a grid
that is much coarser than the differences of float64 between kinds of CPU; then every CPU gets the same
numbers.
"""

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from ...graphs.bert.float32 import PARTS, BertConfig, Weights
from .bert_layers import (
    Layer,
    Numbers,
    Windows,
    attended,
    bias_by_bucket,
    embedded,
    gelu,
    layer_of,
    linear,
    norm,
    prefix_of,
    spans_of,
)

Named = tuple[str, Numbers]


def layer_inputs(config: BertConfig, weights: Weights, chunks: Sequence[Windows]) -> Iterator[Named]:
    """(name of a layer, its inputs (tokens, in)) for each layer and each chunk of windows of token
    ids.

    Layers with the same input come once, under the name of the first: query, key and value share
    query's. Only one layer at a time is held in float64.
    """
    states = [embedded(config, weights, windows) for windows in chunks]
    for number in range(config.num_hidden_layers):
        layer = layer_of(weights, number)
        for at, windows in enumerate(chunks):
            states[at] = yield from _layer(config, layer, prefix_of(number), states[at], spans_of(windows))


def _layer(
    config: BertConfig, layer: Layer, prefix: str, states: Numbers, spans: Sequence[slice]
) -> Generator[Named, None, Numbers]:
    first = f"{prefix}attention.self.{PARTS[0]}"
    yield first, states
    parts = [linear(layer, f"{prefix}attention.self.{part}", states) for part in PARTS]
    query, key, value = parts
    bias = bias_by_bucket(layer, prefix)
    mixed = np.concatenate(
        [attended(config.num_attention_heads, query[s], key[s], value[s], bias) for s in spans]
    )
    name = prefix + "attention.output.dense"
    yield name, mixed
    states = norm(config, layer, prefix + "attention.output.LayerNorm", linear(layer, name, mixed) + states)
    name = prefix + "intermediate.dense"
    yield name, states
    wide = gelu(linear(layer, name, states))
    name = prefix + "output.dense"
    yield name, wide
    return norm(config, layer, prefix + "output.LayerNorm", linear(layer, name, wide) + states)
