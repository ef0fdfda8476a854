"""A small builder of ONNX graphs. Each weight and each constant is stored once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .tensor_file import TensorFile

OPSET = 20
IR_VERSION = 10  # the newest that the oldest supported onnxruntime reads

MICROSOFT = "com.microsoft"  # the domain of the operators that only ONNX Runtime has

Dimension = int | str
ELEMENT_TYPES = {
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bool": TensorProto.BOOL,
}
LARGE_BYTES = 1024  # of an array that goes to a file beside the graph, where there is one


class GraphBuilder:
    """Collects nodes and weights, and builds one checked model. Values are referred to by name.

    The body of a loop is a graph of its own, see `inner`. With ``tensors``, large arrays are written to that file
    at once, and the model refers to it. ``floats``: the kind of its floating-point weights.
    """

    def __init__(self, name: str, tensors: TensorFile | None = None, floats: str = "float32") -> None:
        self.floats = floats
        self._name = name
        self._tensors = tensors
        self._outside: list[onnx.TensorProto] = []
        self._prefix = ""
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._domains = {""}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def inner(self, name: str) -> "GraphBuilder":
        """A builder for the body of a loop in this graph; ``name`` is unique in the whole model.

        It may use all values of this graph. Its weights are stored in the outermost graph, where they are
        shared, and prepared once for their operators and not in each step.
        """
        body = GraphBuilder(name)
        body._prefix = f"{name}/"
        body._weights = self._weights
        body._domains = self._domains
        return body

    def input(self, name: str, dtype: str, shape: tuple[Dimension, ...]) -> str:
        """Declare a graph input and return its name; a dimension given as a string may vary between runs."""
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: tuple[Dimension, ...]) -> None:
        """Declare the value ``name`` a graph output."""
        self._outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """Store an array under ``name`` and return the name; floats become `floats`. The first array is kept."""
        if name not in self._weights:
            with np.errstate(over="ignore"):  # infinite then, which the scores tell
                array = value.astype(self.floats) if np.issubdtype(value.dtype, np.floating) else value
            self._weights[name] = self._stored(np.array(array, order="C", copy=None), name)
        return name

    def _stored(self, array: NDArray[Any], name: str) -> onnx.TensorProto:
        if self._tensors is None or array.nbytes < LARGE_BYTES:
            return numpy_helper.from_array(array, name)
        start, length = self._tensors.append(array)
        proto = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("offset", start), ("length", length)):
            proto.external_data.add(key=key, value=str(value))
        self._outside.append(proto)
        return proto

    def has_weight(self, name: str) -> bool:
        return name in self._weights

    def ints(self, *values: int) -> str:
        """The name of a constant int64 vector; equal values share one constant."""
        return self.weight("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """The name of a constant int64 scalar; equal values share one constant."""
        return self.weight(f"int_{value}", np.array(value, np.int64))

    def number(self, value: float) -> str:
        """The name of a constant float32 scalar; equal values share one constant."""
        name = f"number_{value!r}"
        if name not in self._weights:
            self._weights[name] = self._stored(np.array(value, np.float32), name)
        return name

    def as_float32(self, value: str, output: str | None = None) -> str:
        """The name of the value in float32, which is ``value`` itself where all floats are."""
        if self.floats == "float32":
            return value
        return self.add("Cast", value, output=output, to=TensorProto.FLOAT)

    def as_floats(self, value: str) -> str:
        """The name of a float32 value as one of `floats`."""
        return value if self.floats == "float32" else self.add("Cast", value, to=ELEMENT_TYPES[self.floats])

    def add(
        self, kind: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any
    ) -> str:
        """Append one operator with one output; returns the name of its value."""
        output = output or f"{self._prefix}{kind}_{len(self._nodes)}"
        self._append(kind, inputs, [output], domain, attributes)
        return output

    def add_many(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Append one operator with ``count`` outputs; returns the names of its values."""
        outputs = [f"{self._prefix}{kind}_{len(self._nodes)}_{index}" for index in range(count)]
        self._append(kind, inputs, outputs, "", attributes)
        return outputs

    def add_named(self, kind: str, outputs: list[str], *inputs: str, domain: str, **attributes: Any) -> None:
        """Append one operator whose outputs get these names; an empty one is not made."""
        self._append(kind, inputs, outputs, domain, attributes)

    def _append(
        self, kind: str, inputs: Sequence[str], outputs: list[str], domain: str, attributes: Mapping[str, Any]
    ) -> None:
        self._domains.add(domain)
        node = helper.make_node(kind, list(inputs), outputs, name=outputs[0], domain=domain, **attributes)
        self._nodes.append(node)

    def body(self) -> onnx.GraphProto:
        """The graph of an inner builder: an attribute of the operator that runs it."""
        return helper.make_graph(self._nodes, self._name, self._inputs, self._outputs)

    def model(self, metadata: Mapping[str, str], beside: str = "") -> onnx.ModelProto:
        """The model, checked if all its arrays are inside. Raises onnx.checker.ValidationError for an invalid node.

        ``beside``: the name of the finished file with its large arrays, where it has one.
        """
        for proto in self._outside:
            proto.external_data.add(key="location", value=beside)
        weights = list(self._weights.values())
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, weights)
        opsets = [helper.make_opsetid(domain, OPSET if not domain else 1) for domain in sorted(self._domains)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="inferstream"
        )
        helper.set_model_props(model, dict(metadata))
        if not self._outside:
            onnx.checker.check_model(model)
        return model


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` to ``path``; equal models give equal bytes."""
    path.write_bytes(model.SerializeToString(deterministic=True))
