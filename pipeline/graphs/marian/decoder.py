"""The decoder of a Marian translator: the forced prefix in one step, then one word after the other in a loop."""

from collections.abc import Sequence

from ..builder import GraphBuilder
from .encoder import QUERIES, Attended, merge_heads
from .layers import Chosen, Layers, WordChoices

END = 0


class Decoder:
    """Adds the decoder to graphs: the outer one, and the body of its loop."""

    def __init__(
        self, layers: Layers, sources: Sequence[Attended], choices: WordChoices, places: str
    ) -> None:
        """``sources``: for each layer, the keys and values of the source. ``places``: the table of places."""
        self._layers = layers
        self._sources = sources
        self._choices = choices
        self._places = places

    def after_prefix(self, graph: GraphBuilder, prefix: str, length: str) -> tuple[str, list[str]]:
        """Run the start of a text and the prefix in one step.

        Args:
            prefix: int64 (rows, prefix), padded.
            length: int64 (rows, 1), of the prefixes.

        Returns:
            The states after the last token of each prefix, and what each layer remembers; all (rows, width).
        """
        layers = self._layers
        # A text starts with a vector of zeros.
        vectors = graph.add("Pad", layers.words(graph, prefix), graph.ints(0, 1, 0, 0, 0, 0))
        tokens = graph.add("Shape", vectors, start=1, end=2)
        places = graph.add("Slice", self._places, graph.ints(0), tokens, graph.ints(0))
        states = layers.embedded(graph, vectors, places)
        remembered = []
        for layer, source in enumerate(self._sources, 1):
            name = f"decoder_l{layer}_"
            memories = self._memories(graph, states, name)
            states = self._remembering(graph, states, memories, name)
            states = self._attending_many(graph, states, source, name)
            states = layers.wide(graph, states, name)
            remembered.append(graph.add("GatherND", memories, length, batch_dims=1))
        return graph.add("GatherND", states, length, batch_dims=1), remembered

    def step(
        self, graph: GraphBuilder, vector: str, place: str, memories: Sequence[str]
    ) -> tuple[str, list[str]]:
        """Run one token of each row.

        Args:
            vector: of the token, (rows, width).
            place: its place in the text, int64 (rows).
            memories: for each layer, what it remembers; (rows, width).

        Returns:
            The states after the token, and what each layer remembers now; all (rows, width).
        """
        layers = self._layers
        states = layers.embedded(graph, vector, graph.add("Gather", self._places, place))
        remembered = []
        for layer, (source, memory) in enumerate(zip(self._sources, memories, strict=True), 1):
            name = f"decoder_l{layer}_"
            kept, new = self._gate(graph, states, name)
            memory = _updated(graph, memory, kept, new)
            remembered.append(memory)
            states = self._remembering(graph, states, memory, name)
            states = self._attending_one(graph, states, source, name)
            states = layers.wide(graph, states, name)
        return states, remembered

    def choose(self, graph: GraphBuilder, states: str) -> Chosen:
        """The best token after ``states`` (rows, width) among the choices of each row."""
        return self._layers.best(graph, states, self._choices)

    def _gate(self, graph: GraphBuilder, states: str, name: str) -> tuple[str, str]:
        """How much of its memory a layer keeps, 0 to 1, and what it would remember instead."""
        new, kept = self._layers.linear(graph, states, f"{name}rnn_W", f"{name}rnn_Wf")
        return graph.add("Sigmoid", kept), new

    def _memories(self, graph: GraphBuilder, states: str, name: str) -> str:
        """What a layer remembers after each token; (rows, tokens, width)."""
        kept, new = self._gate(graph, states, name)
        body = graph.inner(f"{name}memories")
        shape = ("rows", self._layers.config.width)
        inputs = [
            body.input(f"{name}memories/{part}", "float32", shape) for part in ("memory", "kept", "new")
        ]
        memory = _updated(body, *inputs)
        body.output(memory, "float32", shape)
        copied = body.add("Identity", memory)
        body.output(copied, "float32", shape)
        rows = graph.add("Shape", states, start=0, end=1)
        nothing = graph.add(
            "Expand",
            graph.number(0.0),
            graph.add("Concat", rows, graph.ints(self._layers.config.width), axis=0),
        )
        scanned = graph.add_many(
            "Scan",
            2,
            nothing,
            kept,
            new,
            body=body.body(),
            num_scan_inputs=2,
            scan_input_axes=[1, 1],
            scan_output_axes=[1],
        )
        return scanned[1]

    def _remembering(self, graph: GraphBuilder, states: str, memory: str, name: str) -> str:
        return self._layers.norm(graph, states, graph.add("Relu", memory), f"{name}rnn_ffn")

    def _attending_many(self, graph: GraphBuilder, states: str, source: Attended, name: str) -> str:
        """For states (rows, tokens, width)."""
        layers = self._layers
        (queries,) = layers.linear(graph, states, f"{name}context_Wq")
        mixed = layers.attend(graph, layers.split_heads(graph, queries, QUERIES), *source)
        merged = merge_heads(graph, mixed, layers.config.width)
        return self._attended(graph, states, merged, name)

    def _attending_one(self, graph: GraphBuilder, states: str, source: Attended, name: str) -> str:
        """For states (rows, width): the order of heads and tokens is the same, so nothing is transposed."""
        layers = self._layers
        config = layers.config
        (queries,) = layers.linear(graph, states, f"{name}context_Wq")
        split = graph.add("Reshape", queries, graph.ints(0, config.heads, 1, config.width // config.heads))
        mixed = layers.attend(graph, split, *source)
        return self._attended(graph, states, graph.add("Reshape", mixed, graph.ints(0, config.width)), name)

    def _attended(self, graph: GraphBuilder, states: str, mixed: str, name: str) -> str:
        (attended,) = self._layers.linear(graph, mixed, f"{name}context_Wo")
        return self._layers.norm(graph, states, attended, f"{name}context_Wo")


def _updated(graph: GraphBuilder, memory: str, kept: str, new: str) -> str:
    """kept · memory + (1 - kept) · new."""
    return graph.add("Add", new, graph.add("Mul", kept, graph.add("Sub", memory, new)))
