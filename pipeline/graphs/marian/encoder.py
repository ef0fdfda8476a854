"""The encoder of a Marian translator: source tokens to states, and to the keys and values of the decoder."""

from typing import NamedTuple

import onnx

from ..builder import GraphBuilder
from .layers import Layers

QUERIES = (0, 2, 1, 3)
KEYS = (0, 2, 3, 1)


class Attended(NamedTuple):
    """What an attention reads; see `Layers.attend`."""

    keys: str
    values: str


class Source(NamedTuple):
    """A source after the encoder."""

    states: str  # float32 (rows, length, width)
    present: str  # float32 (rows, length): 1 for a token, 0 for padding


class SourceEncoder:
    """Adds the encoder to a graph.

    Padding is computed as a copy of the first token at the first place: then it has the states of the first token
    in every layer, and its keys never change a largest score. Its values are set to 0.
    """

    def __init__(self, layers: Layers, graph: GraphBuilder, ids: str, mask: str) -> None:
        """``ids`` and ``mask``: int64 (rows, length)."""
        self._layers = layers
        self._graph = graph
        self._ids = ids
        self._mask = mask
        self._present = graph.add("Cast", mask, to=onnx.TensorProto.FLOAT)

    def states(self, places: str) -> str:
        """The states after the last layer, float32 (rows, length, width); ``places``: the table of places."""
        states = self._embedded(places)
        for layer in range(1, self._layers.config.encoder_layers + 1):
            states = self._layer(states, f"encoder_l{layer}_")
        return states

    def filled(self, states: str) -> Source:
        """``states`` for the decoder, whose length is a multiple of 4.

        A product with one row adds the last one to three values of a length in another order than four of
        them. So padding would change a sum: 112 of 476 pairs of lengths up to 300 did. What is added are copies
        of the first tokens, which count as padding.
        """
        graph = self._graph
        length = graph.add("Shape", states, start=1, end=2)
        missing = graph.add("Mod", graph.add("Neg", length), graph.ints(4))
        first, counted = (
            graph.add("Slice", values, graph.ints(0), missing, graph.ints(1))
            for values in (states, self._present)
        )
        absent = graph.add("Mul", counted, graph.number(0.0))
        return Source(
            graph.add("Concat", states, first, axis=1), graph.add("Concat", self._present, absent, axis=1)
        )

    def _embedded(self, places: str) -> str:
        graph = self._graph
        first = graph.add("Slice", self._ids, graph.ints(0), graph.ints(1), graph.ints(1))
        real = graph.add("Cast", self._mask, to=onnx.TensorProto.BOOL)
        vectors = self._layers.words(graph, graph.add("Where", real, self._ids, first))
        # 0 for the first token and for padding, else how many tokens stand before.
        number = graph.add("CumSum", self._mask, graph.scalar(1), exclusive=1)
        place = graph.add("Mul", number, self._mask)
        return self._layers.embedded(graph, vectors, graph.add("Gather", places, place))

    def _layer(self, states: str, prefix: str) -> str:
        graph = self._graph
        layers = self._layers
        names = [f"{prefix}self_{part}" for part in ("Wq", "Wk", "Wv")]
        queries, keys, values = layers.linear(graph, states, *names)
        read = keys_and_values(layers, graph, keys, values, self._present)
        mixed = layers.attend(graph, layers.split_heads(graph, queries, QUERIES), *read)
        merged = merge_heads(graph, mixed, layers.config.width)
        (attended,) = layers.linear(graph, merged, f"{prefix}self_Wo")
        return layers.wide(graph, layers.norm(graph, states, attended, f"{prefix}self_Wo"), prefix)


def keys_and_values(layers: Layers, graph: GraphBuilder, keys: str, values: str, present: str) -> Attended:
    """Keys and values, both (rows, length, width), as `Layers.attend` reads them; ``present`` as in `Source`."""
    config = layers.config
    scaled = graph.add("Mul", keys, graph.number((config.width // config.heads) ** -0.5))
    each_head = graph.add("Unsqueeze", present, graph.ints(1, 3))
    split = layers.split_heads(graph, values, QUERIES)
    rows_and_heads = graph.add("Shape", split, start=0, end=2)
    length = graph.add("Shape", split, start=2, end=3)
    shape = graph.add("Concat", rows_and_heads, length, graph.ints(1), axis=0)
    counted = graph.add("Expand", each_head, shape)
    return Attended(
        layers.split_heads(graph, scaled, KEYS),
        graph.add("Concat", graph.add("Mul", split, each_head), counted, axis=-1),
    )


def merge_heads(graph: GraphBuilder, mixed: str, width: int) -> str:
    """(rows, heads, tokens, head width) → (rows, tokens, width)."""
    return graph.add("Reshape", graph.add("Transpose", mixed, perm=list(QUERIES)), graph.ints(0, 0, width))
