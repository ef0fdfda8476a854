"""The BERT encoder that also gives what its linear layers are fed."""

from .float32 import BertConfig, BertEncoder, Pooling, Weights

INPUT = ".input"


class BertProbe(BertEncoder):
    """As BertEncoder, with an output NAME.input for each distinct input of linear layers: float32
    (rows, length, in). Layers that share theirs are named after the first: query, key and value after query.
    """

    def __init__(self, config: BertConfig, weights: Weights, pooling: Pooling) -> None:
        super().__init__(config, weights, pooling)
        self._given = set[str]()

    def _linear(self, states: str, name: str) -> str:
        if states not in self._given:
            self._given.add(states)
            self._graph.add("Identity", states, output=name + INPUT)
            width = self._weights[name + ".weight"].shape[1]
            self._graph.output(name + INPUT, "float32", ("rows", "length", width))
        return super()._linear(states, name)
