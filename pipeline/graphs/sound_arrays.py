"""Looks for arrays of a graph that hold no numbers: what a broken training, or a broken file, leaves behind.

Of the file only the fields of ONNX's protobuf that lead to arrays are read, and the arrays where they lie: a worker
loads neither the package onnx nor a graph twice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Part = memoryview
Field = tuple[int, "int | Part"]

FLOAT, FLOAT16, DOUBLE = 1, 10, 11  # TensorProto.DataType
FLOATS: Final[dict[int, np.dtype[Any]]] = {
    FLOAT: np.dtype("<f4"),
    DOUBLE: np.dtype("<f8"),
    FLOAT16: np.dtype("<f2"),
}
"""The kinds of numbers that may be NaN."""

GRAPH_OF_MODEL: Final = 7  # numbers of fields in onnx.proto
NODES, ARRAYS = 1, 5
ATTRIBUTES: Final = 5
ARRAY_OF_ATTRIBUTE, GRAPH_OF_ATTRIBUTE, MORE_ARRAYS, MORE_GRAPHS = 5, 6, 10, 11
DATA_TYPE, FLOAT_DATA, INT32_DATA, NAME, RAW_DATA, DOUBLE_DATA, EXTERNAL_DATA, LOCATION = (
    2,
    4,
    5,
    8,
    9,
    10,
    13,
    14,
)
KEY, VALUE = 1, 2  # of an entry of external_data
EXTERNAL: Final = 1  # TensorProto.DataLocation

VARINT, BYTES_8, SIZED, BYTES_4 = 0, 1, 2, 5  # how protobuf writes a field
LONGEST_VARINT: Final = 10

CHUNK: Final = 1 << 22
"""Numbers that are looked at in one go."""


def array_of_no_numbers(graph: Path) -> str | None:
    """The name of the first array with a NaN; None if there is none. Infinities are allowed: masks are made of them.

    Raises OSError, ValueError for a file that is no graph.
    """
    model = np.memmap(graph, np.uint8, mode="r").data
    for whole in _parts(model, GRAPH_OF_MODEL):
        for array in _arrays(whole):
            if _has_nan(array, graph.parent):
                return array.name
    return None


class _Array(NamedTuple):
    """An array of a graph, as it is written."""

    name: str
    kind: int
    numbers: list[Part]
    bits: list["int | Part"]  # of 16-bit numbers, each as a whole one
    place: dict[str, str]  # in the file beside the graph, if it is there


def _arrays(graph: Part) -> Iterator[_Array]:
    """All arrays of a graph, and of those inside of it."""
    for number, value in _fields(graph):
        if number == ARRAYS:
            yield _array(_sized(value))
        elif number == NODES:
            for attribute in _parts(_sized(value), ATTRIBUTES):
                yield from _arrays_of_attribute(attribute)


def _arrays_of_attribute(attribute: Part) -> Iterator[_Array]:
    for number, value in _fields(attribute):
        if number in (ARRAY_OF_ATTRIBUTE, MORE_ARRAYS):
            yield _array(_sized(value))
        elif number in (GRAPH_OF_ATTRIBUTE, MORE_GRAPHS):
            yield from _arrays(_sized(value))


def _array(tensor: Part) -> _Array:
    found = _Array("", 0, [], [], {})
    is_external = False
    for number, value in _fields(tensor):
        if number == NAME:
            found = found._replace(name=str(_sized(value), "utf-8", "replace"))
        elif number == DATA_TYPE and isinstance(value, int):
            found = found._replace(kind=value)
        elif number in (FLOAT_DATA, RAW_DATA, DOUBLE_DATA):
            found.numbers.append(_sized(value))
        elif number == INT32_DATA:
            found.bits.append(value)
        elif number == EXTERNAL_DATA:
            entry = {part: str(_sized(text), "utf-8") for part, text in _fields(_sized(value))}
            found.place[entry.get(KEY, "")] = entry.get(VALUE, "")
        elif number == LOCATION:
            is_external = value == EXTERNAL
    return found if is_external else found._replace(place={})


def _has_nan(array: _Array, folder: Path) -> bool:
    kind = FLOATS.get(array.kind)
    if kind is None:
        return False
    if array.place:
        return _is_nan_in(_beside(array.place, kind, folder))
    if array.bits and array.kind == FLOAT16:
        patterns = [one for part in array.bits for one in _whole_numbers(part)]
        return _is_nan_in(np.array(patterns, np.int64).astype(np.uint16).view(kind))
    return any(_is_nan_in(np.frombuffer(part, kind)) for part in array.numbers if len(part))


def _beside(place: dict[str, str], kind: np.dtype[Any], folder: Path) -> NDArray[Any]:
    count = int(place["length"]) // kind.itemsize
    if not count:
        return np.zeros(0, kind)
    path = folder / Path(place["location"]).name
    return np.memmap(path, kind, mode="r", offset=int(place.get("offset", 0)), shape=(count,))


def _is_nan_in(numbers: NDArray[Any]) -> bool:
    return any(
        bool(np.isnan(numbers[start : start + CHUNK].astype(np.float32, copy=False)).any())
        for start in range(0, numbers.size, CHUNK)
    )


def _parts(message: Part, wanted: int) -> Iterator[Part]:
    return (_sized(value) for number, value in _fields(message) if number == wanted)


def _sized(value: "int | Part") -> Part:
    if isinstance(value, int):
        raise ValueError("a field is a number that should be a text or an array")
    return value


def _fields(message: Part) -> Iterator[Field]:
    """The fields of a message of protobuf: their numbers, and whole numbers or bytes. Raises ValueError."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, how = key >> 3, key & 7
        if how == VARINT:
            found, at = _varint(message, at)
            yield number, found
            continue
        if how == SIZED:
            size, at = _varint(message, at)
        elif how in (BYTES_8, BYTES_4):
            size = 8 if how == BYTES_8 else 4
        else:
            raise ValueError(f"a field is of the kind {how}, which protobuf does not have")
        if size > len(message) - at:
            raise ValueError("it ends in the middle of a field")
        yield number, message[at : at + size]
        at += size


def _varint(message: Part, at: int) -> tuple[int, int]:
    """The whole number that begins here, and where it ends."""
    found = 0
    for place in range(LONGEST_VARINT):
        if at == len(message):
            raise ValueError("it ends in the middle of a number")
        byte = message[at]
        at += 1
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return found, at
    raise ValueError("a number is too long")


def _whole_numbers(value: "int | Part") -> Iterator[int]:
    """One, or many that are packed."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        found, at = _varint(value, at)
        yield found
