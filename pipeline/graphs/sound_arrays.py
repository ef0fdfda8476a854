"""Looks for arrays of a graph that hold no numbers: what a broken training, or a broken file, leaves behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

FLOATS: Final[dict[int, np.dtype[Any]]] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.DOUBLE: np.dtype("<f8"),
    onnx.TensorProto.FLOAT16: np.dtype("<f2"),
}
"""The kinds of numbers that may be NaN, as they are in the file beside a graph."""

PART: Final = 1 << 22
"""Numbers that are looked at in one go."""


def array_of_no_numbers(graph: Path) -> str | None:
    """The name of the first array with a NaN; None if there is none. Infinities are allowed: masks are made of them.

    Raises OSError, or what the library raises for a file that is no graph.
    """
    model = onnx.load(graph, load_external_data=False)
    for tensor in _tensors(model.graph):
        if tensor.data_type in FLOATS and _has_nan(_array(tensor, graph.parent)):
            return str(tensor.name)
    return None


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All arrays of a graph, and of those inside of it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _array(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    if not tensor.HasField("data_location") or tensor.data_location != onnx.TensorProto.EXTERNAL:
        return np.asarray(numpy_helper.to_array(tensor))
    # The library does not open files with several hard links, as those of a release are.
    place = {entry.key: entry.value for entry in tensor.external_data}
    kind = FLOATS[tensor.data_type]
    count = int(place["length"]) // kind.itemsize
    if not count:
        return np.zeros(0, kind)
    path = folder / Path(place["location"]).name
    return np.memmap(path, kind, mode="r", offset=int(place.get("offset", 0)), shape=(count,))


def _has_nan(array: NDArray[Any]) -> bool:
    numbers = array.reshape(-1)
    return any(
        bool(np.isnan(numbers[start : start + PART].astype(np.float32, copy=False)).any())
        for start in range(0, numbers.size, PART)
    )
