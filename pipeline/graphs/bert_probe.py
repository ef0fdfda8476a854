"""The BERT encoder that also tells how far each input channel of its linear layers swings."""

from .bert import BertEncoder

PEAK = ".peak"


class BertProbe(BertEncoder):
    """As BertEncoder, with an output NAME.peak for each linear layer: float32 (in), the largest magnitudes."""

    def _linear(self, states: str, name: str) -> str:
        graph = self._graph
        graph.add("ReduceMax", graph.add("Abs", states), graph.ints(0, 1), output=name + PEAK, keepdims=0)
        graph.output(name + PEAK, "float32", (self._weights[name + ".weight"].shape[1],))
        return super()._linear(states, name)
