"""An ONNX graph as an encoder or a classifier of ours: two inputs, one output, pooling inside.

The nodes that are added are the same in all versions of the operators, so a graph of any version may have them.
"""

from collections.abc import Sequence
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from ...errors import ModelError
from ..bert.float32 import CLASSIFIER, KIND, Pooling
from ..devices import ANY, DEVICE
from .checks import graphs_of

IDS: Final = "input_ids"
MASK: Final = "attention_mask"
TYPES: Final = "token_type_ids"
STATES: Final = ("last_hidden_state", "token_embeddings")
POOLED: Final = "sentence_embedding"
LOGITS: Final = "logits"
OURS: Final = "inferstream."
"""Before the names of what is added."""
INTEGERS: Final = (TensorProto.INT64, TensorProto.INT32)
FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)
DYNAMIC_ROWS: Final = ("rows", "length")


class AdaptedGraph:
    """Changes ``model`` in place. ``name``: of its file, for errors."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self._model = model
        self._graph = model.graph
        self._name = name
        self._first: list[onnx.NodeProto] = []
        stored = {tensor.name for tensor in self._graph.initializer}
        self._inputs = {one.name: one for one in self._graph.input if one.name not in stored}
        self._outputs = {one.name: one for one in self._graph.output}

    def encoder(self, pooling: Pooling) -> onnx.ModelProto:
        """The vectors of the texts, of length 1: pooled here from the states of the tokens, or as the graph pools them
        where it gives nothing else. Raises ModelError.
        """
        states = next((name for name in STATES if name in self._outputs), None)
        if states is None and POOLED not in self._outputs:
            raise ModelError(
                f"{self._name} has the outputs {', '.join(self._outputs)}; {' or '.join((*STATES, POOLED))} is needed."
            )
        self._check_output(states or POOLED, 3 if states else 2)
        self._adapt_inputs()
        found = self._float32(states or POOLED)
        if states:
            found = (
                self._mean(found)
                if pooling == "mean"
                else self._add("Gather", found, self._scalar(0), axis=1)
            )
        vector = self._add("LpNormalization", found, axis=-1, p=2)
        width = self._last_dimension(states or POOLED)
        return self._finished(vector, width, KIND, pooling)

    def classifier(self, labels: int) -> onnx.ModelProto:
        """The score of each label before softmax or sigmoid. Raises ModelError."""
        if LOGITS not in self._outputs:
            raise ModelError(f"{self._name} has the outputs {', '.join(self._outputs)}; {LOGITS} is needed.")
        self._check_output(LOGITS, 2)
        width = self._last_dimension(LOGITS)
        if width not in (None, labels):
            raise ModelError(f"{self._name} gives {width} scores, and config.json has {labels} labels.")
        self._adapt_inputs()
        return self._finished(self._add("Identity", self._float32(LOGITS)), labels, CLASSIFIER, "head")

    def _check_output(self, name: str, rank: int) -> None:
        found = self._outputs[name].type.tensor_type
        if found.elem_type not in FLOATS or (found.HasField("shape") and len(found.shape.dim) != rank):
            raise ModelError(
                f"{self._name} has an output {name} that is no array of {rank} dimensions of floats."
            )

    def _last_dimension(self, name: str) -> int | None:
        """None if it is not said."""
        dimensions = self._outputs[name].type.tensor_type.shape.dim
        return dimensions[-1].dim_value or None if dimensions else None

    def _adapt_inputs(self) -> None:
        """The inputs become those of our encoders. Types of tokens are all 0."""
        for name, one in self._inputs.items():
            kind = one.type.tensor_type
            fixed = any(dimension.dim_value for dimension in kind.shape.dim)
            if name not in (IDS, MASK, TYPES) or kind.elem_type not in INTEGERS or fixed:
                raise ModelError(
                    f"{self._name} has the input {name}; only {IDS}, {MASK} and {TYPES} of integers, with any number "
                    "of rows and tokens, are supported."
                )
        if missing := [name for name in (IDS, MASK) if name not in self._inputs]:
            raise ModelError(
                f"{self._name} has no input {missing[0]}: without it no texts can share a batch."
            )
        kinds = {name: one.type.tensor_type.elem_type for name, one in self._inputs.items()}
        del self._graph.input[:]
        for name in (IDS, MASK):
            given = name if kinds[name] == TensorProto.INT64 else OURS + name
            self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, DYNAMIC_ROWS))
            if given != name:
                self._first.append(helper.make_node("Cast", [name], [given], to=kinds[name]))
                self._rename(name, given)
        if TYPES in kinds:
            self._first.append(helper.make_node("Sub", [IDS, IDS], [OURS + TYPES]))
            self._first.append(helper.make_node("Cast", [OURS + TYPES], [TYPES], to=kinds[TYPES]))

    def _rename(self, old: str, new: str) -> None:
        for graph in graphs_of(self._model):
            for node in graph.node:
                for at, name in enumerate(node.input):
                    if name == old:
                        node.input[at] = new

    def _float32(self, name: str) -> str:
        is_float = self._outputs[name].type.tensor_type.elem_type == TensorProto.FLOAT
        return name if is_float else self._add("Cast", name, to=TensorProto.FLOAT)

    def _mean(self, states: str) -> str:
        """The mean of the tokens without padding, by matrix products: (1, length) x (length, width)."""
        present = self._add("Cast", MASK, to=TensorProto.FLOAT)
        row = self._add("Reshape", present, self._ints(0, 1, -1))
        column = self._add("Reshape", present, self._ints(0, -1, 1))
        total = self._add("MatMul", row, states)
        mean = self._add("Div", total, self._add("MatMul", row, column))
        return self._add("Reshape", mean, self._ints(0, -1))

    def _add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{OURS}{kind}_{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _ints(self, *values: int) -> str:
        return self._stored("ints_" + "_".join(map(str, values)), values, [len(values)])

    def _scalar(self, value: int) -> str:
        return self._stored(f"int_{value}", (value,), [])

    def _stored(self, name: str, values: Sequence[int], dimensions: Sequence[int]) -> str:
        name = OURS + name
        if all(tensor.name != name for tensor in self._graph.initializer):
            tensor = helper.make_tensor(name, TensorProto.INT64, dimensions, list(values))
            self._graph.initializer.append(tensor)
        return name

    def _finished(self, output: str, width: int | None, kind: str, pooling: str) -> onnx.ModelProto:
        nodes = [*self._first, *self._graph.node]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        del self._graph.output[:]
        shape = ("rows", width or "dimensions")
        self._graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
        del self._graph.value_info[:]  # shapes of what was: they may not fit what was changed
        helper.set_model_props(self._model, {"kind": kind, "pooling": pooling, DEVICE: ANY})
        return self._model
