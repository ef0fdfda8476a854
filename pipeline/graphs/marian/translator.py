"""A Marian translator as one ONNX graph, with the greedy search in a loop inside, built without torch.

Formulas: Vaswani et al. 2017 (transformer, post-norm), Kim et al. 2019 (SSRU decoder).

What shares a batch never changes a translation: every operator gives a row the same bits beside any other rows.
The sums over the tokens of a source are matrix products, which add in the order of the tokens, so that zeros
behind the last one change nothing (the order of `Softmax` depends on the number of tokens). The words that a
translation may contain are chosen for each row, not for the batch.
"""

import math

import onnx

from ..builder import GraphBuilder
from ..devices import DEVICE
from .decoder import END, Decoder
from .encoder import Attended, Source, SourceEncoder, keys_and_values
from .layers import Layers, places

KIND = "marian-translator"


class MarianTranslator:
    """Builds one translator.

    Inputs, int64: ``input_ids`` and ``attention_mask`` (rows, length), the source tokens with the end;
    ``prefix_ids`` and ``prefix_mask`` (rows, prefix), what the translation begins with, perhaps nothing;
    ``candidates`` (rows, choices), the tokens that each translation may contain: the first is 0, the end of a
    text, and a shorter list is filled up with zeros. Masks are ones, then zeros. ``length`` is at least 2,
    ``prefix`` at least 1 and ``choices`` a multiple of 16, filled up: a product with one row or column adds
    in another order than the same product with more.

    Outputs, int64: ``output_ids`` (rows, steps), what follows the prefix, filled up with zeros; ``ended`` (rows),
    1 if the translation came to its end, 0 if it was stopped at the length factor.
    """

    def __init__(self, layers: Layers, max_tokens: int) -> None:
        """``max_tokens``: of a source, the end included."""
        self._layers = layers
        self._config = layers.config
        self._longest = math.ceil(max_tokens * layers.config.length_factor)
        self._graph = GraphBuilder(KIND)

    def model(self) -> onnx.ModelProto:
        """The model."""
        graph = self._graph
        ids = graph.input("input_ids", "int64", ("rows", "length"))
        mask = graph.input("attention_mask", "int64", ("rows", "length"))
        prefix = graph.input("prefix_ids", "int64", ("rows", "prefix"))
        prefix_mask = graph.input("prefix_mask", "int64", ("rows", "prefix"))
        candidates = graph.input("candidates", "int64", ("rows", "choices"))
        table = graph.weight("places", places(self._config.width, self._longest + 1))
        encoder = SourceEncoder(self._layers, graph, ids, mask)
        source = encoder.filled(encoder.states(table))
        decoder = Decoder(self._layers, self._read(source), self._layers.choices(graph, candidates), table)
        before = graph.add("ReduceSum", prefix_mask, graph.ints(1), keepdims=1)
        allowed = graph.add("Sub", self._limit(mask), before)
        tokens = self._search(decoder, decoder.after_prefix(graph, prefix, before), before, allowed)
        self._outputs(tokens, allowed)
        return graph.model(
            {
                "kind": KIND,
                "length_factor": repr(self._config.length_factor),
                DEVICE: self._layers.device,
            }
        )

    def _read(self, source: Source) -> list[Attended]:
        """For each layer of the decoder, the keys and values of the source."""
        layers = range(1, self._config.decoder_layers + 1)
        names = [f"decoder_l{layer}_context_{part}" for layer in layers for part in ("Wk", "Wv")]
        found = self._layers.linear(self._graph, source.states, *names)
        pairs = zip(found[::2], found[1::2], strict=True)
        return [keys_and_values(self._layers, self._graph, *pair, source.present) for pair in pairs]

    def _limit(self, mask: str) -> str:
        """How many tokens each translation may have; int64 (rows, 1).

        Rounded up, as in Marian: it stops behind the first token at which the factor is reached.
        """
        graph = self._graph
        length = graph.add("ReduceSum", mask, graph.ints(1), keepdims=1)
        real = graph.add("Cast", length, to=onnx.TensorProto.FLOAT)  # as in Marian
        factor = graph.number(self._config.length_factor)
        return graph.add("Cast", graph.add("Ceil", graph.add("Mul", real, factor)), to=onnx.TensorProto.INT64)

    def _search(self, decoder: Decoder, start: tuple[str, list[str]], before: str, allowed: str) -> str:
        """The tokens after the prefix, each the best one; int64 (rows, steps)."""
        graph = self._graph
        states, memories = start
        first = decoder.choose(graph, states)
        token = graph.add("Where", graph.add("Greater", allowed, graph.ints(0)), first.token, graph.ints(END))
        more = graph.add("Sub", graph.add("ReduceMax", allowed, keepdims=0), graph.scalar(1))
        place = graph.add("Squeeze", graph.add("Add", before, graph.ints(1)), graph.ints(1))
        *_, rest = graph.add_many(
            "Loop",
            3 + len(memories),
            more,
            self._goes_on(graph, token),
            token,
            first.vector,
            *memories,
            body=self._body(decoder, place, allowed),
        )
        steps = graph.add("Transpose", graph.add("Squeeze", rest, graph.ints(2)), perm=[1, 0])
        return graph.add("Concat", token, steps, axis=1)

    def _body(self, decoder: Decoder, place: str, allowed: str) -> onnx.GraphProto:
        """One step: each row's last token gives its next one; 0 once the row has ended."""
        body = self._graph.inner("step")
        width = self._config.width
        number = body.input("step/number", "int64", ())
        body.input("step/before", "bool", ())
        last = body.input("step/last", "int64", ("rows", 1))
        vector = body.input("step/vector", "float32", ("rows", width))
        memories = [
            body.input(f"step/memory_{layer}", "float32", ("rows", width))
            for layer in range(self._config.decoder_layers)
        ]
        states, remembered = decoder.step(body, vector, body.add("Add", place, number), memories)
        chosen = decoder.choose(body, states)
        within = body.add("Greater", allowed, body.add("Add", number, body.scalar(1)))
        alive = body.add("And", within, body.add("Cast", last, to=onnx.TensorProto.BOOL))
        token = body.add("Where", alive, chosen.token, body.ints(END))
        body.output(self._goes_on(body, token), "bool", ())
        body.output(token, "int64", ("rows", 1))
        body.output(chosen.vector, "float32", ("rows", width))
        for memory in remembered:
            body.output(memory, "float32", ("rows", width))
        body.output(body.add("Identity", token), "int64", ("rows", 1))
        return body.body()

    def _goes_on(self, graph: GraphBuilder, token: str) -> str:
        """Whether any row has not ended; END is 0, and all other tokens are above."""
        return graph.add("Cast", graph.add("ReduceMax", token, keepdims=0), to=onnx.TensorProto.BOOL)

    def _outputs(self, tokens: str, allowed: str) -> None:
        graph = self._graph
        made = graph.add(
            "Cast", graph.add("Cast", tokens, to=onnx.TensorProto.BOOL), to=onnx.TensorProto.INT64
        )
        count = graph.add("ReduceSum", made, graph.ints(1), keepdims=1)
        ended = graph.add("Squeeze", graph.add("Less", count, allowed), graph.ints(1))
        graph.add("Identity", tokens, output="output_ids")
        graph.output("output_ids", "int64", ("rows", "steps"))
        graph.add("Cast", ended, output="ended", to=onnx.TensorProto.INT64)
        graph.output("ended", "int64", ("rows",))
