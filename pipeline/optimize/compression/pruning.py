"""Structured pruning of a BERT encoder: whole attention heads and whole units of the feed-forward parts, without
a gradient.

Layer by layer the heads and units whose loss changes least are removed, and the output matrix behind them is
fitted anew by least squares, on unlabeled texts (see `output_fit`). The wanted output is what brings the pruned
encoder's stream of states to the original's, so a layer also corrects errors of the layers before it. All layers
keep the same number of heads and units: one graph, no operator of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from ...errors import ModelError
from ...graphs.bert.families import bias_of
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
from .output_fit import FittedOutput, OutputFit

UNIT_MULTIPLE = 64  # of units, as the kernels of matrix products like it
UNIT_STAGES = 2  # more gave no better accuracy


class Kept(NamedTuple):
    """How much of each layer stays."""

    heads: int
    units: int


class PrunedEncoder(NamedTuple):
    """The pruned encoder, and how far each layer's states are from the original's: ‖difference‖ / ‖original‖."""

    config: BertConfig
    weights: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]
    errors: list[float]


class _Stream(NamedTuple):
    """The states (tokens, hidden_size) of the texts of a chunk in front of a layer."""

    spans: list[slice]
    pruned: Numbers
    original: Numbers


def kept_of(config: BertConfig, share: float) -> Kept:
    """What stays if about ``share`` of the heads and of the feed-forward units is removed."""
    heads = max(1, round(config.num_attention_heads * (1 - share)))
    multiples = round(config.intermediate_size * (1 - share) / UNIT_MULTIPLE)
    units = min(max(1, multiples) * UNIT_MULTIPLE, config.intermediate_size)
    return Kept(heads, units)


def prune(
    config: BertConfig,
    weights: Weights,
    chunks: Sequence[Windows],
    kept: Kept,
    progress: Callable[[int, int], None],
) -> PrunedEncoder:
    """Prune each layer to ``kept``, on ``chunks`` of windows of token ids.

    ``progress`` gets (layer, layers) before each. Raises ModelError if states are not finite numbers.
    """
    pruned = dict(weights)
    streams = list(_first_streams(config, weights, chunks))
    errors: list[float] = []
    smaller = msgspec.structs.replace(
        config,
        num_attention_heads=kept.heads,
        attention_head_size=config.head_size,
        intermediate_size=kept.units,
    )
    with np.errstate(all="ignore"):
        for number in range(config.num_hidden_layers):
            progress(number, config.num_hidden_layers)
            layer = _PrunedLayer(config, weights, number)
            streams = layer.prune_attention(streams, kept.heads)
            streams = layer.prune_units(streams, kept.units)
            errors.append(_distance(streams))
            if not np.isfinite(errors[-1]):
                raise ModelError(
                    f"With these weights the states behind layer {number} are not finite numbers; use another model."
                )
            pruned.update({name: w.astype(np.float32, order="C") for name, w in layer.pruned.items()})
    return PrunedEncoder(smaller, pruned, errors)


class _PrunedLayer:
    """One layer of the original, and what becomes of it."""

    def __init__(self, config: BertConfig, weights: Weights, number: int) -> None:
        self._config = config
        self._prefix = prefix_of(number)
        self._layer = layer_of(weights, number)
        self.pruned = dict(self._layer)

    def prune_attention(self, streams: Sequence[_Stream], heads: int) -> list[_Stream]:
        """Keep ``heads`` heads; the streams behind the attention's normalization."""
        config = self._config
        output = f"{self._prefix}attention.output.dense"
        fit = OutputFit(config.attention_width, config.hidden_size)
        for stream in streams:
            wanted = linear(self._layer, output, self._mixed(self._layer, stream.original, stream.spans))
            mixed = self._mixed(self._layer, stream.pruned, stream.spans)
            fit.add(mixed, wanted + stream.original - stream.pruned)
        found = fit.keep(heads, config.head_size, stages=config.num_attention_heads - heads)
        for part in PARTS:
            self._cut(f"{self._prefix}attention.self.{part}", found)
        if (bias := bias_by_bucket(self._layer, self._prefix)) is not None:
            kept = found.kept[:: config.head_size] // config.head_size
            self.pruned[bias_of(self._prefix)] = bias[:, kept]
        self._refit(output, found)
        return [
            stream._replace(
                pruned=self._behind_attention(self.pruned, stream.pruned, stream.spans),
                original=self._behind_attention(self._layer, stream.original, stream.spans),
            )
            for stream in streams
        ]

    def prune_units(self, streams: Sequence[_Stream], units: int) -> list[_Stream]:
        """Keep ``units`` units of the feed-forward part; the streams behind the layer."""
        config = self._config
        output = f"{self._prefix}output.dense"
        fit = OutputFit(config.intermediate_size, config.hidden_size)
        for stream in streams:
            wanted = linear(self._layer, output, self._wide(self._layer, stream.original))
            fit.add(self._wide(self._layer, stream.pruned), wanted + stream.original - stream.pruned)
        found = fit.keep(units, 1, stages=UNIT_STAGES)
        self._cut(f"{self._prefix}intermediate.dense", found)
        self._refit(output, found)
        return [
            stream._replace(
                pruned=self._behind_units(self.pruned, stream.pruned),
                original=self._behind_units(self._layer, stream.original),
            )
            for stream in streams
        ]

    def _behind_attention(self, layer: Layer, states: Numbers, spans: Sequence[slice]) -> Numbers:
        out = linear(layer, f"{self._prefix}attention.output.dense", self._mixed(layer, states, spans))
        return norm(self._config, layer, f"{self._prefix}attention.output.LayerNorm", out + states)

    def _behind_units(self, layer: Layer, states: Numbers) -> Numbers:
        out = linear(layer, f"{self._prefix}output.dense", self._wide(layer, states))
        return norm(self._config, layer, f"{self._prefix}output.LayerNorm", out + states)

    def _mixed(self, layer: Layer, states: Numbers, spans: Sequence[slice]) -> Numbers:
        query, key, value = (linear(layer, f"{self._prefix}attention.self.{part}", states) for part in PARTS)
        heads = query.shape[1] // self._config.head_size
        bias = bias_by_bucket(layer, self._prefix)
        return np.concatenate([attended(heads, query[s], key[s], value[s], bias) for s in spans])

    def _wide(self, layer: Layer, states: Numbers) -> Numbers:
        return gelu(linear(layer, f"{self._prefix}intermediate.dense", states))

    def _cut(self, name: str, found: FittedOutput) -> None:
        """Keep the outputs of a layer that are the kept inputs of the next."""
        self.pruned[name + ".weight"] = self._layer[name + ".weight"][found.kept]
        self.pruned[name + ".bias"] = self._layer[name + ".bias"][found.kept]

    def _refit(self, name: str, found: FittedOutput) -> None:
        self.pruned[name + ".weight"] = found.weight.T
        self.pruned[name + ".bias"] = found.bias


def _first_streams(config: BertConfig, weights: Weights, chunks: Sequence[Windows]) -> Iterator[_Stream]:
    for windows in chunks:
        states = embedded(config, weights, windows)
        yield _Stream(spans_of(windows), states, states)


def _distance(streams: Sequence[_Stream]) -> float:
    difference = sum(float(np.square(stream.pruned - stream.original).sum()) for stream in streams)
    original = sum(float(np.square(stream.original).sum()) for stream in streams)
    return float(np.sqrt(difference / original))
