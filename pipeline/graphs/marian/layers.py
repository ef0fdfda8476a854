"""The layers of a Marian translator in float32: linear layers, normalization, the table of words, attention."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ..builder import GraphBuilder
from ..devices import ANY
from .weights import OUTPUT_BIAS, WORDS, MarianModel

EPSILON = 1e-9
WAVELENGTH = 10_000.0


class WordChoices(NamedTuple):
    """The tokens that each translation may contain, with what `Layers.best` reads of them."""

    ids: str  # int64 (rows, choices)
    vectors: str  # float32 (rows, choices, width), as they are stored
    biases: str  # float32 (rows, choices)


class Chosen(NamedTuple):
    """The best token of each row."""

    token: str  # int64 (rows, 1)
    vector: str  # float32 (rows, width)


class Layers:
    """Adds layers of one model to a graph. Every layer gives a row the same bits beside any other rows."""

    device = ANY

    def __init__(self, model: MarianModel) -> None:
        self._model = model
        self.config = model.config

    def linear(self, graph: GraphBuilder, states: str, *names: str) -> list[str]:
        """``states`` × weight + bias for the layers ``names``, which read the same states, in one product."""
        weight = graph.weight(joined(names), np.concatenate([self._matrix(name) for name in names], axis=1))
        product = graph.add("MatMul", states, weight)
        if any(self._has_bias(name) for name in names):
            product = graph.add("Add", product, self._biases(graph, names))
        return self._split(graph, product, names)

    def norm(self, graph: GraphBuilder, states: str, added: str, name: str) -> str:
        """The normalized sum of a layer's input and its output."""
        scale = graph.weight(f"{name}_ln_scale", self._model.vectors[f"{name}_ln_scale"][0])
        shift = graph.weight(f"{name}_ln_bias", self._model.vectors[f"{name}_ln_bias"][0])
        total = graph.add("Add", states, added)
        return graph.add("LayerNormalization", total, scale, shift, axis=-1, epsilon=EPSILON)

    def wide(self, graph: GraphBuilder, states: str, prefix: str) -> str:
        """The feed-forward layers of a block, added to their input and normalized."""
        (wide,) = self.linear(graph, states, f"{prefix}ffn_W1")
        (narrow,) = self.linear(graph, graph.add("Relu", wide), f"{prefix}ffn_W2")
        return self.norm(graph, states, narrow, f"{prefix}ffn_ffn")

    def words(self, graph: GraphBuilder, ids: str) -> str:
        """The vectors of the tokens ``ids``, of any shape (…): (…, width)."""
        return self.on_scale(graph, self.stored_words(graph, ids))

    def stored_words(self, graph: GraphBuilder, ids: str) -> str:
        """The same vectors as they are stored, whole numbers in float32; see `on_scale`."""
        rows = graph.add("Gather", graph.weight(WORDS, self._model.weights[WORDS].values), ids)
        return graph.add("Cast", rows, to=onnx.TensorProto.FLOAT)

    def on_scale(self, graph: GraphBuilder, values: str) -> str:
        """``values``, divided by the multiplier of the table of words."""
        return graph.add("Div", values, graph.number(float(self._model.weights[WORDS].multiplier)))

    def embedded(self, graph: GraphBuilder, vectors: str, places: str) -> str:
        """The first states of tokens, from their vectors and the vectors of their places in the text."""
        scaled = graph.add("Mul", vectors, graph.number(math.sqrt(self.config.width)))
        return graph.add("Add", scaled, places)

    def choices(self, graph: GraphBuilder, ids: str) -> WordChoices:
        """What `best` reads of the tokens ``ids``, int64 (rows, choices)."""
        return WordChoices(ids, self.stored_words(graph, ids), self.output_bias(graph, ids))

    def output_bias(self, graph: GraphBuilder, ids: str) -> str:
        """For each token of ``ids`` what is added to its score."""
        return graph.add("Gather", graph.weight(OUTPUT_BIAS, self._model.vectors[OUTPUT_BIAS][0]), ids)

    def best(self, graph: GraphBuilder, states: str, choices: WordChoices) -> Chosen:
        """The token with the highest score after ``states`` (rows, width); of equal ones the first."""
        # The states have fewer values to divide than the vectors.
        column = graph.add("Unsqueeze", self.on_scale(graph, states), graph.ints(2))
        products = graph.add("Squeeze", graph.add("MatMul", choices.vectors, column), graph.ints(2))
        best = graph.add("ArgMax", graph.add("Add", products, choices.biases), axis=1, keepdims=1)
        return Chosen(
            graph.add("GatherElements", choices.ids, best, axis=1),
            self.on_scale(graph, graph.add("GatherND", choices.vectors, best, batch_dims=1)),
        )

    def attend(self, graph: GraphBuilder, queries: str, keys: str, values: str) -> str:
        """The means of ``values``, weighted by how well their keys fit the queries.

        Args:
            queries: (rows, heads, tokens, head width).
            keys: (rows, heads, head width, length), divided by √(head width). Padding has the key of the first
                token, so that it is never alone the best.
            values: (rows, heads, length, head width + 1): the last column is 1, and padding is 0. The product
                gives the sum of the weights along with the sum of the values, added in the order of the tokens.
        """
        scores = graph.add("MatMul", queries, keys)
        largest = graph.add("ReduceMax", scores, graph.ints(-1), keepdims=1)
        weights = graph.add("Exp", graph.add("Sub", scores, largest))
        sums = graph.add("MatMul", weights, values)
        head = self.config.width // self.config.heads
        total, count = graph.add_many("Split", 2, sums, graph.ints(head, 1), axis=-1)
        return graph.add("Div", total, count)

    def split_heads(self, graph: GraphBuilder, states: str, order: Sequence[int]) -> str:
        """(rows, tokens, width) → (rows, tokens, heads, head width), transposed to ``order``."""
        head = self.config.width // self.config.heads
        parts = graph.add("Reshape", states, graph.ints(0, 0, self.config.heads, head))
        return graph.add("Transpose", parts, perm=list(order))

    def _split(self, graph: GraphBuilder, product: str, names: Sequence[str]) -> list[str]:
        if len(names) == 1:
            return [product]
        widths = [self._model.weights[name].values.shape[1] for name in names]
        return graph.add_many("Split", len(names), product, graph.ints(*widths), axis=-1)

    def _matrix(self, name: str) -> NDArray[np.float32]:
        weight = self._model.weights[name]
        return weight.values.astype(np.float32) / weight.multiplier

    def _has_bias(self, name: str) -> bool:
        return _bias(name) in self._model.vectors

    def _biases(self, graph: GraphBuilder, names: Sequence[str]) -> str:
        """The biases of the layers side by side; zeros for a layer without one."""
        biases = [
            self._model.vectors[_bias(name)][0]
            if self._has_bias(name)
            else np.zeros(self._model.weights[name].values.shape[1], np.float32)
            for name in names
        ]
        return graph.weight(f"{joined(names)}.bias", np.concatenate(biases))


def places(config_width: int, count: int) -> NDArray[np.float32]:
    """The vectors of the first ``count`` places in a text, (count, width): the sines, then the cosines."""
    half = config_width // 2
    steps = np.exp(-np.arange(half) * math.log(WAVELENGTH) / max(half - 1, 1))
    angles = np.arange(count)[:, None] * steps
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def joined(names: Sequence[str]) -> str:
    return "+".join(names)


def _bias(name: str) -> str:
    """The bias of the layer ``…_Wq`` is ``…_bq``."""
    prefix, _, suffix = name.rpartition("_W")
    return f"{prefix}_b{suffix}"
