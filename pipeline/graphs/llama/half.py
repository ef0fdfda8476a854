"""The linear layers of a decoder in float16, for a GPU."""

from .linears import Linears


class HalfLinears(Linears):
    """Weights and inputs in float16. Sums are those of the device, and scores are told in float32."""

    def scores(self, states: str, output: str) -> str:
        return self._graph.as_float32(super().scores(states, f"half_{output}"), output)
