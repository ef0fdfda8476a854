"""An imported graph with int8 matrix products: as `graphs/bert/int8`, for products that are found and not built.

The scales of the activations are constants, so no row of a batch depends on the others. Products with a stored matrix,
whose other factor depends on the tokens, become int8; tables of tokens get 8 bits, with a scale for each token.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ...errors import ModelError
from ..bert.int8 import Calibration, pairs_over_limit
from ..builder import MICROSOFT
from ..devices import CPU, DEVICE
from .adapting import IDS, MASK
from .checks import graphs_of

LEAST_WEIGHTS: Final = 1_024  # of a matrix that becomes int8: smaller ones gain nothing
LEAST_ROWS: Final = 256  # of a table
LEAST_OPSET: Final = 10  # QuantizeLinear is there since then
NAMES: Final = "inferstream.int8."


class Product(NamedTuple):
    """A product of ``inputs``, the name of a value, with the stored matrix ``weight``."""

    inputs: str
    weight: str


def products_of(model: onnx.ModelProto) -> list[Product]:
    """The products that may become int8, in the order of the graph."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    from_tokens = _from_tokens(model)
    return [
        Product(node.input[0], node.input[1])
        for node in model.graph.node
        if node.op_type == "MatMul" and not node.domain and node.input[0] in from_tokens
        if node.input[1] in weights and _is_matrix(weights[node.input[1]])
    ]


def _is_matrix(tensor: onnx.TensorProto) -> bool:
    return (
        tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and tensor.dims[0] * tensor.dims[1] >= LEAST_WEIGHTS
    )


def _from_tokens(model: onnx.ModelProto) -> set[str]:
    """The values that depend on the tokens, or on their number."""
    found = {IDS, MASK}
    for node in model.graph.node:
        if found.intersection(node.input):
            found.update(node.output)
    return found


class Int8Rewriter:
    """Rewrites ``model`` in place, with the ranges and scales by the names of the products' inputs.

    ``quantize`` gets the name of a product's inputs and its tamed matrix.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        opset = next((one.version for one in model.opset_import if not one.domain), 0)
        if opset < LEAST_OPSET:
            raise ModelError(f"int8 needs a graph of opset {LEAST_OPSET} or later, and this one has {opset}.")
        self._model = model
        self._graph = model.graph
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._products = products_of(model)
        self._quantized: dict[str, tuple[str, str, str]] = {}
        self._done: dict[Product, tuple[str, str, str]] = {}

    def add(self, calibration: Calibration) -> None:
        """Quantize the matrices whose inputs the calibration knows. It may be called for one part after the other."""
        for product in self._products:
            if product in self._done or product.inputs not in calibration.ranges:
                continue
            weight = numpy_helper.to_array(self._weights[product.weight])
            scales = calibration.scales.get(product.inputs)
            tamed = weight if scales is None else weight * scales[:, None]
            values, steps = calibration.quantize(product.inputs, np.ascontiguousarray(tamed))
            if over := pairs_over_limit(values):
                raise ModelError(f"{over} pairs of weights exceed the pair limit of int8: a defect.")
            name = f"{NAMES}{len(self._done)}."
            self._done[product] = (
                self._store(name + "values", values),
                self._store(name + "scales", steps),
                self._store(name + "zeros", np.zeros(len(steps), np.int8)),
            )
            if product.inputs not in self._quantized:
                self._quantized[product.inputs] = self._grid(name, calibration, product.inputs)

    def finished(self) -> onnx.ModelProto:
        """The graph with all that was added. Raises ModelError if nothing became int8."""
        if not self._done:
            raise ModelError(
                "The graph has no product with a stored matrix, so there is no int8 variant of it."
            )
        nodes = list(self._nodes())
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        self._drop_unused()
        if all(one.domain != MICROSOFT for one in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        properties = {one.key: one.value for one in self._model.metadata_props}
        helper.set_model_props(self._model, {**properties, DEVICE: CPU})
        return self._model

    def _grid(self, name: str, calibration: Calibration, inputs: str) -> tuple[str, str, str]:
        """Store the scale and the zero point of the inputs, and what tames them; the names, the last perhaps empty."""
        smallest, largest = calibration.ranges[inputs]
        low = min(smallest, 0.0)
        width = max(max(largest, 0.0) - low, float(np.finfo(np.float32).tiny) * 255)
        scale = np.float32(width / 255)
        zero = np.array(np.clip(np.rint(-low / scale), 0, 255), np.uint8)
        scales = calibration.scales.get(inputs)
        taming = "" if scales is None else self._store(name + "taming", (1 / scales).astype(np.float32))
        return self._store(name + "step", np.array(scale)), self._store(name + "zero", zero), taming

    def _nodes(self) -> Iterator[onnx.NodeProto]:
        rounded: dict[str, str] = {}
        for node in self._graph.node:
            if self._is_table(node):
                yield from self._rows(node)
            elif node.op_type == "MatMul" and (found := self._done.get(Product(*node.input))):
                inputs = node.input[0]
                step, zero, taming = self._quantized[inputs]
                if inputs not in rounded:
                    rounded[inputs] = f"{NAMES}{len(rounded)}.inputs"
                    if taming:
                        yield helper.make_node("Mul", [inputs, taming], [rounded[inputs] + ".tamed"])
                    given = rounded[inputs] + ".tamed" if taming else inputs
                    yield helper.make_node("QuantizeLinear", [given, step, zero], [rounded[inputs]])
                values, steps, zeros = found
                yield helper.make_node(
                    "MatMulIntegerToFloat",
                    [rounded[inputs], values, step, steps, zero, zeros],
                    list(node.output),
                    domain=MICROSOFT,
                )
            else:
                yield node

    def _is_table(self, node: onnx.NodeProto) -> bool:
        tensor = self._weights.get(node.input[0]) if node.op_type == "Gather" else None
        on_rows = all(one.name != "axis" or one.i == 0 for one in node.attribute)
        return tensor is not None and on_rows and _is_matrix(tensor) and tensor.dims[0] >= LEAST_ROWS

    def _rows(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The rows of a table in 8 bits: smallest value + number x step, both of the row."""
        table: NDArray[np.float32] = numpy_helper.to_array(self._weights[node.input[0]])
        low = table.min(axis=1, keepdims=True)
        steps = np.maximum((table.max(axis=1, keepdims=True) - low) / 255, np.finfo(np.float32).tiny)
        numbers = np.rint((table - low) / steps).astype(np.uint8)
        name = NAMES + node.output[0] + "."
        parts = {"numbers": numbers, "steps": steps.astype(np.float32), "low": low}
        for part, array in parts.items():
            stored = self._store(f"{name}{part}.table", array)
            yield helper.make_node("Gather", [stored, node.input[1]], [name + part], axis=0)
        yield helper.make_node("Cast", [name + "numbers"], [name + "float"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [name + "float", name + "steps"], [name + "scaled"])
        yield helper.make_node("Add", [name + "scaled", name + "low"], [node.output[0]])

    def _store(self, name: str, array: NDArray[np.generic]) -> str:
        self._graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        )
        return name

    def _drop_unused(self) -> None:
        used = {name for graph in graphs_of(self._model) for node in graph.node for name in node.input}
        used |= {one.name for one in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def with_outputs(model: onnx.ModelProto, names: list[str]) -> bytes:
    """The graph with these float32 values as its outputs, instead of its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    content: bytes = copy.SerializeToString()
    return content
