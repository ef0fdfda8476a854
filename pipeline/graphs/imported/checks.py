"""Reads an ONNX file that was made elsewhere: only its own operators, only files beside it, only what fits.

Nothing of a file is run before it is checked here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from ...errors import ModelError
from ..builder import MICROSOFT

MAX_BYTES: Final = 2**31 - 2**24
"""Of a graph with its arrays: a message of protobuf has 2 GiB at most, and room is left for what is added."""
DOMAINS: Final = frozenset({"", "ai.onnx", MICROSOFT})
REFUSED: Final = frozenset({"Loop", "Scan", "EPContext"})
"""Operators that no encoder needs: loops, which may have no end, and code for a device that is read from a file."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """The model in a file, with the arrays of a file beside it. Raises ModelError with what is wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} has more than {MAX_BYTES} bytes; a larger graph is not supported.")
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ModelError:
        raise
    except Exception as error:  # of protobuf, which ships no types
        raise ModelError(f"{path} is no ONNX file, or is damaged: {_first_line(error)}.") from error
    _check_operators(model, path)
    _load_arrays(model, path)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker has several kinds of errors, and protobuf its own
        raise ModelError(f"{path} is no valid ONNX graph: {_first_line(error)}.") from error
    return model


def graphs_of(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those inside of its nodes."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += _inner(graph.node)


def _inner(nodes: "Iterator[onnx.NodeProto] | list[onnx.NodeProto]") -> list[onnx.GraphProto]:
    found = []
    for node in nodes:
        for attribute in node.attribute:
            found += [attribute.g] if attribute.HasField("g") else []
            found += list(attribute.graphs)
    return found


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    if model.functions:
        raise ModelError(
            f"{path} has functions of its own ({model.functions[0].name}); export it with them inlined."
        )
    for graph in graphs_of(model):
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise ModelError(
                    f"{path} has the operator {node.op_type} of {node.domain!r}; only those of ONNX and of ONNX "
                    "Runtime are supported."
                )
            if node.op_type in REFUSED:
                raise ModelError(f"{path} has the operator {node.op_type}, which no encoder of texts needs.")


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in graphs_of(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _load_arrays(model: onnx.ModelProto, path: Path) -> None:
    """Read the arrays that are beside the graph: in one file of its folder, and not elsewhere."""
    outside = [tensor for tensor in _tensors(model) if uses_external_data(tensor)]
    total = path.stat().st_size
    for tensor in outside:
        found = _place(tensor, path)
        location = str(found.location)
        beside = path.parent / location
        if Path(location).name != location or beside.is_symlink() or not beside.is_file():
            raise ModelError(
                f"{path} has its array {tensor.name} in {location!r}, which is no file beside it."
            )
        size = beside.stat().st_size
        start = int(found.offset or 0)
        length = size - start if found.length is None else int(found.length)
        total += length
        if start < 0 or length < 0 or start + length > size or total > MAX_BYTES:
            raise ModelError(f"{path} has its array {tensor.name} where {location} has no such bytes.")
    if outside:
        try:
            load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # the library raises several kinds
            raise ModelError(f"Cannot read the arrays beside {path}: {_first_line(error)}.") from error


def _place(tensor: onnx.TensorProto, path: Path) -> Any:
    """Where the array is. Its types do not say that a number may be missing."""
    try:
        return ExternalDataInfo(tensor)
    except ValueError as error:
        raise ModelError(f"Cannot read where {path} has its arrays: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")[:300] or type(error).__name__
