"""A BERT encoder in torch, for texts of one length each time: no padding, so no mask."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graphs.bert.distances import added_scores
from ...graphs.bert.families import bias_of
from ...graphs.bert.float32 import PARTS, Weights
from ..compression.bert_layers import EncoderWeights, prefix_of

TABLES = (
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
)
"""Not trained: most of their rows are of words that the texts do not have."""


class EncoderNetwork:
    """The states behind each layer, as a function of token ids; all weights but those of tables are trained."""

    def __init__(self, encoder: EncoderWeights) -> None:
        import torch

        self.config = encoder.config
        biases = {bias_of(prefix_of(layer)) for layer in range(self.config.num_hidden_layers)}
        self._biases = {name: encoder.weights[name] for name in biases & encoder.weights.keys()}
        self._tables = {name: torch.tensor(encoder.weights[name]) for name in TABLES}
        self.trained: dict[str, Any] = {
            name: torch.nn.Parameter(torch.tensor(weight))
            for name, weight in sorted(
                encoder.weights.items()
            )  # a file has no order, and a checkpoint needs one
            if name not in biases and name not in TABLES
        }

    def weights(self) -> Weights:
        """All weights, as they are now."""
        tables = {name: table.numpy() for name, table in self._tables.items()}
        trained: Mapping[str, NDArray[Any]] = {
            name: np.array(weight.detach().numpy()) for name, weight in self.trained.items()
        }
        return {**tables, **self._biases, **trained}

    def states(self, ids: Any) -> list[Any]:
        """(texts, length, hidden_size) behind each layer for ``ids``, (texts, length)."""
        words, positions, types = (self._tables[name] for name in TABLES)
        states = self._norm(words[ids] + positions[: ids.shape[1]] + types[0], "embeddings.LayerNorm")
        found = []
        for layer in range(self.config.num_hidden_layers):
            states = self._layer(states, prefix_of(layer))
            found.append(states)
        return found

    def _layer(self, states: Any, prefix: str) -> Any:
        from torch.nn.functional import gelu

        mixed = self._linear(self._attended(states, prefix), f"{prefix}attention.output.dense")
        states = self._norm(states + mixed, f"{prefix}attention.output.LayerNorm")
        wide = gelu(self._linear(states, f"{prefix}intermediate.dense"))
        return self._norm(states + self._linear(wide, f"{prefix}output.dense"), f"{prefix}output.LayerNorm")

    def _attended(self, states: Any, prefix: str) -> Any:
        import torch

        rows, length, _ = states.shape
        config = self.config
        query, key, value = (
            self._linear(states, f"{prefix}attention.self.{part}")
            .view(rows, length, config.num_attention_heads, config.head_size)
            .transpose(1, 2)
            for part in PARTS
        )
        scores = query @ key.transpose(2, 3) * config.head_size**-0.5
        if (bias := self._biases.get(bias_of(prefix))) is not None:
            scores = scores + torch.tensor(added_scores(bias, length))
        mixed = torch.softmax(scores, dim=-1) @ value
        return mixed.transpose(1, 2).reshape(rows, length, config.attention_width)

    def _linear(self, states: Any, name: str) -> Any:
        from torch.nn.functional import linear

        return linear(states, self.trained[name + ".weight"], self.trained[name + ".bias"])

    def _norm(self, states: Any, name: str) -> Any:
        from torch.nn.functional import layer_norm

        weight, bias = self.trained[name + ".weight"], self.trained[name + ".bias"]
        return layer_norm(states.float(), weight.shape, weight, bias, self.config.layer_norm_eps)


def pooled(states: Any, pooling: str) -> Any:
    """The vectors of texts, of length 1, from the states of the last layer."""
    from torch.nn.functional import normalize

    return normalize(states[:, 0] if pooling == "cls" else states.mean(dim=1), dim=-1)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes in one thread: two took ten times as long for such small products on two cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fast_numbers() -> Any:
    """A context in which products are of bfloat16 where this CPU has instructions for them, 2.5 times as fast."""
    import torch

    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(known and known()))
