"""A decoder of the Llama family as one ONNX graph, built without torch: one step for some rows.

Formulas: Touvron et al. 2023 (Llama: RMSNorm before each block, SwiGLU, rotary positions), Ainslie et al. 2023
(grouped queries), Su et al. 2021 (rotary positions), Yang et al. 2025 (Qwen3: norms of queries and keys).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from ..builder import MICROSOFT, GraphBuilder
from ..devices import CPU, CUDA, DEVICE
from ..tensor_file import TensorFile
from .config import DecoderModel
from .half import HalfLinears
from .linears import Linears, Linears4, Linears8
from .scaled_queries import with_scaled_queries

KIND: Final = "llama-decoder"
SPARE = 2
"""Places behind the context: a step may compute a token there that only makes it larger."""


class Numbers(NamedTuple):
    """What a variant computes with.

    ``floats``: the kind of its numbers outside of the products, and of its keys and values.
    """

    linears: type[Linears]
    floats: str
    device: str


NUMBERS: Mapping[str, Numbers] = {
    "fp32": Numbers(Linears, "float32", CPU),
    "fp16": Numbers(HalfLinears, "float16", CUDA),
    "int8": Numbers(Linears8, "float32", CPU),
    "int4": Numbers(Linears4, "float32", CPU),
}


class LlamaDecoder:
    """Builds one decoder.

    Inputs: ``tokens`` int64 (rows, steps); ``last`` int32 (rows), the place of each row's last token in its text;
    ``longest`` int32 (), the tokens of the longest text; ``wanted`` int64 (wanted), which tokens, counted over all
    rows, get scores; for each layer ``keys_N`` and ``values_N`` (rows, heads, context, head width), which
    have the tokens before. Outputs: ``best`` int64 (wanted); ``scores`` float32 (wanted, words); ``new_keys_N`` and
    ``new_values_N``, which are the inputs with the new tokens at their places: give them the same memory.

    With several rows ``steps`` is 1, or the rows have no tokens before: a limit of GroupQueryAttention.
    """

    def __init__(self, model: DecoderModel, precision: str, tensors: TensorFile) -> None:
        """``tensors``: where the weights are written to."""
        self._model = with_scaled_queries(model)
        self._config = model.config
        self._precision = precision
        self._tensors = tensors
        self._graph = GraphBuilder(KIND, tensors, NUMBERS[precision].floats)
        self._linears = NUMBERS[precision].linears(self._model, self._graph)

    def add_all(self) -> None:
        """Add the whole network; its weights are in the file then."""
        graph = self._graph
        graph.input("tokens", "int64", ("rows", "steps"))
        graph.input("last", "int32", ("rows",))
        graph.input("longest", "int32", ())
        graph.input("wanted", "int64", ("wanted",))
        self._store_rotary_tables()
        states = self._linears.words("tokens")
        normed = self._norm(states, "blk.0.attn_norm.weight")
        for layer in range(self._config.layers):
            normed, states = self._block(layer, normed, states)
        flat = graph.add("Reshape", normed, graph.ints(-1, self._config.width))
        scores = self._linears.scores(graph.add("Gather", flat, "wanted"), "scores")
        graph.add("ArgMax", scores, output="best", axis=-1, keepdims=0)
        graph.output("best", "int64", ("wanted",))
        graph.output("scores", "float32", ("wanted", self._config.words))
        self._declare_memory()

    def model(self, beside: str) -> onnx.ModelProto:
        """The model; ``beside``: the name of the finished file with its weights."""
        return self._graph.model(
            {
                "kind": KIND,
                "family": self._config.family,
                "precision": self._precision,
                "context": str(self._config.context),
                "weights": beside,
                DEVICE: NUMBERS[self._precision].device,
            },
            beside,
        )

    def _block(self, layer: int, normed: str, states: str) -> tuple[str, str]:
        """One layer; returns the inputs of the next one, normalized and as they are."""
        config = self._config
        name = f"blk.{layer}."
        normed, states = self._added(states, self._attended(layer, normed), f"{name}ffn_norm.weight")
        gated = self._wide(name, normed)
        narrow = self._linears.product(gated, [f"{name}ffn_down"])
        after = f"blk.{layer + 1}.attn_norm.weight" if layer + 1 < config.layers else "output_norm.weight"
        return self._added(states, narrow, after)

    def _attended(self, layer: int, normed: str) -> str:
        graph = self._graph
        config = self._config
        name = f"blk.{layer}."
        product = self._linears.product(normed, [f"{name}attn_{part}" for part in "qkv"])
        normalized = self._model.tensors.has(f"{name}attn_q_norm.weight")
        if normalized:
            parts = graph.add_many(
                "Split", 3, product, graph.ints(*(config.width_of(part) for part in "qkv")), axis=-1
            )
            parts[:2] = [
                self._head_norm(part, f"{name}attn_{kind}_norm.weight")
                for part, kind in zip(parts, "qk", strict=False)
            ]
        else:
            parts = [product, "", ""]
        rotary = config.rotary[layer]
        window = {"local_window_size": config.windows[layer]} if config.windows[layer] else {}
        outputs = [f"attended_{layer}", f"new_keys_{layer}", f"new_values_{layer}"]
        graph.add_named(
            "GroupQueryAttention",
            outputs,
            *parts,
            f"keys_{layer}",
            f"values_{layer}",
            "last",
            "longest",
            *(("cosines", "sines") if rotary else ()),
            domain=MICROSOFT,
            num_heads=config.heads,
            kv_num_heads=config.kv_heads,
            scale=1.0,  # with it one query has a product of its own, which takes the keys as they lie
            do_rotary=int(rotary),
            rotary_interleaved=int(config.interleaved),
            **window,
        )
        return self._linears.product(outputs[0], [f"{name}attn_output"])

    def _wide(self, name: str, normed: str) -> str:
        """SiLU of the gate, times the other half."""
        graph = self._graph
        both = self._linears.product(normed, [f"{name}ffn_gate", f"{name}ffn_up"])
        gate, up = graph.add_many("Split", 2, both, graph.ints(self._config.wide, self._config.wide), axis=-1)
        opened = graph.add("QuickGelu", gate, domain=MICROSOFT, alpha=1.0)  # x · sigmoid(x)
        return graph.add("Mul", opened, up)

    def _added(self, states: str, new: str, norm: str) -> tuple[str, str]:
        """The sum of both, normalized and as it is."""
        graph = self._graph
        scale = graph.weight(norm, self._model.tensors.vector(norm))
        normed = f"{norm}/normed"
        total = f"{norm}/sum"
        graph.add_named(
            "SkipSimplifiedLayerNormalization",
            [normed, "", "", total],
            states,
            new,
            scale,
            domain=MICROSOFT,
            epsilon=self._config.epsilon,
        )
        return normed, total

    def _head_norm(self, part: str, name: str) -> str:
        """Queries or keys, each head normalized."""
        graph = self._graph
        heads = graph.add("Reshape", part, graph.ints(0, 0, -1, self._config.head_width))
        return graph.add("Reshape", self._norm(heads, name), graph.ints(0, 0, -1))

    def _norm(self, states: str, name: str) -> str:
        """RMSNorm, computed in float32; ONNX Runtime fuses it."""
        graph = self._graph
        states = graph.as_float32(states)
        squares = graph.add("Pow", states, graph.number(2.0))
        mean = graph.add("ReduceMean", squares, graph.ints(-1), keepdims=1)
        root = graph.add("Sqrt", graph.add("Add", mean, graph.number(self._config.epsilon)))
        normed = graph.as_floats(graph.add("Div", states, root))
        return graph.add("Mul", normed, graph.weight(name, self._model.tensors.vector(name)))

    def _store_rotary_tables(self) -> None:
        angles = np.arange(self._config.context + SPARE)[:, None] * self._model.frequencies
        turns: dict[str, NDArray[np.float64]] = {"cosines": np.cos(angles), "sines": np.sin(angles)}
        for name, values in turns.items():
            self._graph.weight(name, values)

    def _declare_memory(self) -> None:
        shape = ("rows", self._config.kv_heads, "context", self._config.head_width)
        for layer in range(self._config.layers):
            for part in ("keys", "values"):
                self._graph.input(f"{part}_{layer}", self._graph.floats, shape)
                self._graph.output(f"new_{part}_{layer}", self._graph.floats, shape)
