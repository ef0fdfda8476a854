"""The BERT-family sentence encoder as one ONNX graph, pooling and normalization inside, built
without torch.

Formulas: Devlin et al. 2018 (encoder, post-norm), Reimers and Gurevych 2019 (mean pooling of token
states).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from msgspec import Struct
from numpy.typing import NDArray

from ...errors import ModelError
from ..builder import GraphBuilder
from ..devices import ANY, DEVICE
from .distances import by_distance
from .families import HEAD_DENSE, HEAD_OUT, bias_of

KIND = "bert-encoder"
CLASSIFIER = "text-classifier"
MASKED = -10_000.0  # added to the attention scores of padding; its exp() is 0 in float32
Weights = Mapping[str, NDArray[Any]]
Pooling = Literal["mean", "cls", "head"]
"""What becomes of the states of the tokens: their mean, the first one, or the scores of the model's own head."""

PARTS = ("query", "key", "value")


class BertConfig(Struct, frozen=True):
    """The fields of ``config.json`` that decide the graph, or that say it would not be enough."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    intermediate_size: int
    vocab_size: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    pad_token_id: int | None = 0
    architectures: tuple[str, ...] | None = None
    auto_map: Any = None  # Python code of the model's own
    quantization_config: Any = None
    is_decoder: bool = False
    matryoshka_dimensions: Any = None  # to which a vector may be cut, as models that were trained for it say
    attention_head_size: int | None = None  # of a pruned encoder, whose heads are fewer and as wide as before
    relative_attention_num_buckets: int = (
        0  # of MPNet: of distances, by which something is added to the scores
    )
    head_activation: Literal["tanh", "relu"] = "tanh"  # between the two layers of a classifier's head
    labels: int = 0  # how many a classifier has

    @property
    def head_size(self) -> int:
        """The width of a head."""
        return self.attention_head_size or self.hidden_size // self.num_attention_heads

    @property
    def attention_width(self) -> int:
        """The width of all heads."""
        return self.num_attention_heads * self.head_size

    @property
    def padding(self) -> int:
        """The token of padding; any will do where none is named, because the mask excludes it."""
        return self.pad_token_id or 0

    @property
    def shorter(self) -> tuple[int, ...]:
        """The numbers of dimensions, in rising order, to which a vector may be cut."""
        named = self.matryoshka_dimensions
        found = {one for one in named if type(one) is int} if isinstance(named, list) else set()
        return tuple(sorted(one for one in found if 0 < one < self.hidden_size))


class BertEncoder:
    """Builds one encoder, or one classifier, in float32 from standard ONNX operators.

    Inputs ``input_ids`` and ``attention_mask``, int64 (rows, length), where a row's mask is ones,
    then zeros; output ``embedding``, float32 (rows, hidden_size), each row of length 1; of a classifier
    ``logits``, float32 (rows, labels).
    """

    device = ANY

    def __init__(self, config: BertConfig, weights: Weights, pooling: Pooling) -> None:
        self._config = config
        self._weights = weights
        self._pooling = pooling
        self._graph = GraphBuilder(KIND)
        self._between = ""  # the distances of the tokens, where the scores depend on them
        self._biases: dict[bytes, str] = {}

    def model(self) -> onnx.ModelProto:
        """The model. Raises ModelError if a tensor of the encoder is missing."""
        try:
            return self._model()
        except KeyError as error:
            raise ModelError(f"The weights lack the tensor {error.args[0]!r} of a BERT encoder.") from error

    def _model(self) -> onnx.ModelProto:
        graph = self._graph
        ids = graph.input("input_ids", "int64", ("rows", "length"))
        mask = graph.input("attention_mask", "int64", ("rows", "length"))
        states = self._embeddings(ids)
        hidden = self._attention_mask(mask)
        if self._config.relative_attention_num_buckets:
            self._between = self._distances(ids)
        for layer in range(self._config.num_hidden_layers):
            states = self._layer(states, hidden, f"encoder.layer.{layer}.")
        if self._pooling == "head":
            self._scores(self._first(states))
        else:
            pooled = self._mean(states, mask) if self._pooling == "mean" else self._first(states)
            graph.add("LpNormalization", pooled, output="embedding", axis=-1, p=2)
            graph.output("embedding", "float32", ("rows", self._config.hidden_size))
        kind = CLASSIFIER if self._pooling == "head" else KIND
        return graph.model({"kind": kind, "pooling": self._pooling, DEVICE: self.device})

    def _scores(self, first: str) -> None:
        """The classifier's own head on the state of the first token: two layers, always in float32."""
        graph = self._graph
        dense = BertEncoder._linear(self, first, HEAD_DENSE)
        active = graph.add("Tanh" if self._config.head_activation == "tanh" else "Relu", dense)
        weight = graph.weight(HEAD_OUT + ".weight", self._weights[HEAD_OUT + ".weight"].T)
        bias = graph.weight(HEAD_OUT + ".bias", self._weights[HEAD_OUT + ".bias"])
        graph.add("Add", graph.add("MatMul", active, weight), bias, output="logits")
        graph.output("logits", "float32", ("rows", self._config.labels))

    def _embeddings(self, ids: str) -> str:
        graph = self._graph
        weights = self._weights
        words = self._word_table()
        # All tokens are in segment 0, so its vector is added to the position vectors once.
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        table = graph.weight("positions", weights["embeddings.position_embeddings.weight"] + segment)
        length = graph.add("Shape", ids, start=1, end=2)
        positions = graph.add("Slice", table, graph.ints(0), length, graph.ints(0))
        return self._norm(graph.add("Add", self._gathered(words, ids), positions), "embeddings.LayerNorm")

    def _word_table(self) -> list[str]:
        """Store the vectors of the tokens; the names of what is stored."""
        return [self._graph.weight("words", self._weights["embeddings.word_embeddings.weight"])]

    def _gathered(self, words: list[str], ids: str) -> str:
        """The vectors of the tokens ``ids``; (rows, length, hidden_size)."""
        return self._graph.add("Gather", words[0], ids)

    def _attention_mask(self, mask: str) -> str:
        """0 for a token, MASKED for padding; (rows, 1, 1, length), added to the attention scores."""
        graph = self._graph
        present = graph.add("Cast", graph.add("Unsqueeze", mask, graph.ints(1, 2)), to=onnx.TensorProto.FLOAT)
        return graph.add("Mul", graph.add("Sub", graph.number(1.0), present), graph.number(MASKED))

    def _layer(self, states: str, mask: str, prefix: str) -> str:
        graph = self._graph
        attended = self._linear(self._attention(states, mask, prefix), prefix + "attention.output.dense")
        states = self._norm(graph.add("Add", attended, states), prefix + "attention.output.LayerNorm")
        wide = graph.add("Gelu", self._linear(states, prefix + "intermediate.dense"))
        narrow = self._linear(wide, prefix + "output.dense")
        return self._norm(graph.add("Add", narrow, states), prefix + "output.LayerNorm")

    def _distances(self, ids: str) -> str:
        """For each two tokens where their distance is in the tables of `by_distance`; (length, length)."""
        graph = self._graph
        length = graph.add("Squeeze", graph.add("Shape", ids, start=1, end=2))
        places = graph.add("Range", graph.scalar(0), length, graph.scalar(1))
        distances = graph.add("Sub", places, graph.add("Unsqueeze", places, graph.ints(1)))
        return graph.add("Add", distances, graph.scalar(self._config.max_position_embeddings - 1))

    def _with_bias(self, scores: str, prefix: str) -> str:
        """The scores, and what is added to them by the distance of the tokens; layers with equal tables share one."""
        if not self._between:
            return scores
        graph = self._graph
        bias = self._weights[bias_of(prefix)]
        if (content := bias.tobytes()) not in self._biases:
            table = graph.weight(bias_of(prefix), by_distance(bias, self._config.max_position_embeddings))
            self._biases[content] = graph.add("Gather", table, self._between, axis=1)
        return graph.add("Add", scores, self._biases[content])

    def _attention(self, states: str, mask: str, prefix: str) -> str:
        """Multi-head attention without the output projection; (rows, length, attention_width)."""
        split = self._graph.ints(0, 0, self._config.num_attention_heads, self._config.head_size)
        return self._mixed(self._projected(states, prefix), split, mask, prefix)

    def _projected(self, states: str, prefix: str) -> list[str]:
        """Query, key and value."""
        return [self._linear(states, f"{prefix}attention.self.{part}") for part in PARTS]

    def _mixed(self, projected: Sequence[str], split: str, mask: str, prefix: str) -> str:
        """The values, mixed by the scores of queries and keys."""
        graph = self._graph
        query, key, value = projected
        # The scale of the scores is applied to the queries: length × width values instead of
        # length².
        query = graph.add("Mul", query, graph.number(self._config.head_size**-0.5))
        left = graph.add("Transpose", graph.add("Reshape", query, split), perm=[0, 2, 1, 3])
        right = graph.add("Transpose", graph.add("Reshape", key, split), perm=[0, 2, 3, 1])
        scores = self._with_bias(graph.add("MatMul", left, right), prefix)
        shares = graph.add("Softmax", graph.add("Add", scores, mask), axis=-1)
        values = graph.add("Transpose", graph.add("Reshape", value, split), perm=[0, 2, 1, 3])
        mixed = graph.add("Transpose", graph.add("MatMul", shares, values), perm=[0, 2, 1, 3])
        return graph.add("Reshape", mixed, graph.ints(0, 0, self._config.attention_width))

    def _linear(self, states: str, name: str) -> str:
        """``states`` × weight + bias of the layer called ``name``."""
        graph = self._graph
        weight = graph.weight(name + ".weight", self._weights[name + ".weight"].T)
        bias = graph.weight(name + ".bias", self._weights[name + ".bias"])
        return graph.add("Add", graph.add("MatMul", states, weight), bias)

    def _norm(self, states: str, name: str) -> str:
        graph = self._graph
        scale = graph.weight(name + ".weight", self._weights[name + ".weight"])
        shift = graph.weight(name + ".bias", self._weights[name + ".bias"])
        return graph.add(
            "LayerNormalization", states, scale, shift, axis=-1, epsilon=self._config.layer_norm_eps
        )

    def _mean(self, states: str, mask: str) -> str:
        """The mean over the tokens without padding; (rows, hidden_size)."""
        graph = self._graph
        present = graph.add("Cast", mask, to=onnx.TensorProto.FLOAT)
        kept = graph.add("Mul", states, graph.add("Unsqueeze", present, graph.ints(2)))
        total = graph.add("ReduceSum", kept, graph.ints(1), keepdims=0)
        return graph.add("Div", total, graph.add("ReduceSum", present, graph.ints(1), keepdims=1))

    def _first(self, states: str) -> str:
        return self._graph.add("Gather", states, self._graph.weight("first", np.array(0, np.int64)), axis=1)
