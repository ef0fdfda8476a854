"""The BERT encoder with the inputs of its linear layers as further outputs."""

from .float32 import BertConfig, BertEncoder, Pooling, Weights

INPUT = ".input"


class BertProbe(BertEncoder):
    """BertEncoder with an output NAME.input for each distinct input of linear layers: float32
    (rows, length, in).

    Layers with the same input have one output, with the name of the first layer: query, key and
    value share query's.
    """

    def __init__(self, config: BertConfig, weights: Weights, pooling: Pooling) -> None:
        super().__init__(config, weights, pooling)
        self._declared = set[str]()

    def _linear(self, states: str, name: str) -> str:
        if states not in self._declared:
            self._declared.add(states)
            self._graph.add("Identity", states, output=name + INPUT)
            width = self._weights[name + ".weight"].shape[1]
            self._graph.output(name + INPUT, "float32", ("rows", "length", width))
        return super()._linear(states, name)
