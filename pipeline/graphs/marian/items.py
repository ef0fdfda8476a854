"""Reads the binary file of a Marian model: named arrays, of which some are 8-bit with one multiplier.

The layout, little endian: u64 version, u64 count; for each item u64 × 4 (bytes of the name with its NUL, type,
number of dimensions, bytes of the data); all names; all dimensions as int32; u64 bytes of padding, and the padding;
then the data of each item.
"""

import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError

VERSION = 1
BYTES = 0x101
FLOAT32 = 0x404
INT8 = 0x4101
MOST_ITEMS = 100_000
CONFIG = "special:model.yml"


class Quantized(NamedTuple):
    """An 8-bit array: the value of an element is ``values / multiplier``."""

    values: NDArray[np.int8]
    multiplier: np.float32


class ModelItems(NamedTuple):
    """What a model file has. The matrices of `Quantized` are stored transposed, except for the table of words."""

    config: str
    floats: Mapping[str, NDArray[np.float32]]
    quantized: Mapping[str, Quantized]


class _Header(NamedTuple):
    name_bytes: int
    kind: int
    dimensions: int
    data_bytes: int


def read_items(path: Path) -> ModelItems:
    """Read a model file. Raises ModelError for another format or version, and for a file that is cut off."""
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise ModelError(f"Cannot read the weights {path}: {error.strerror}.") from error
    try:
        return _sorted_by_kind(_items(content, path), path)
    except struct.error as error:
        raise ModelError(f"{path} is no whole model file of Marian: it ends inside of its header.") from error
    except ValueError as error:
        raise ModelError(f"{path} is no whole model file of Marian: {error}.") from error


def _items(content: memoryview, path: Path) -> Iterator[tuple[str, int, tuple[int, ...], memoryview]]:
    """Name, type, shape and data of each item."""
    version, count = struct.unpack_from("<QQ", content)
    if version != VERSION or count > MOST_ITEMS:
        raise ModelError(f"{path} is no binary model of Marian in version {VERSION}.")
    place = 16
    headers = [_Header(*struct.unpack_from("<QQQQ", content, place + 32 * item)) for item in range(count)]
    place += 32 * count
    names = []
    for header in headers:
        names.append(bytes(content[place : place + header.name_bytes]).rstrip(b"\0").decode())
        place += header.name_bytes
    shapes = []
    for header in headers:
        shapes.append(struct.unpack_from(f"<{header.dimensions}i", content, place))
        place += 4 * header.dimensions
    (padding,) = struct.unpack_from("<Q", content, place)
    place += 8 + padding
    for name, header, shape in zip(names, headers, shapes, strict=True):
        data = content[place : place + header.data_bytes]
        if len(data) != header.data_bytes:
            raise ValueError(f"it ends inside of {name}")
        place += header.data_bytes
        yield name, header.kind, shape, data


def _sorted_by_kind(items: Iterator[tuple[str, int, tuple[int, ...], memoryview]], path: Path) -> ModelItems:
    config = ""
    floats: dict[str, NDArray[np.float32]] = {}
    quantized: dict[str, Quantized] = {}
    for name, kind, shape, data in items:
        if kind == FLOAT32:
            floats[name] = np.frombuffer(data, "<f4", prod(shape)).reshape(shape)
        elif kind == INT8:
            values = np.frombuffer(data, np.int8, prod(shape)).reshape(shape)
            (multiplier,) = struct.unpack_from("<f", data, prod(shape))  # right behind the elements
            quantized[name] = Quantized(values, np.float32(multiplier))
        elif kind == BYTES and name == CONFIG:
            config = bytes(data).rstrip(b"\0").decode()
        else:
            raise ModelError(
                f"{path} has {name} in the type {kind:#x}; only float32 ({FLOAT32:#x}) and 8-bit arrays "
                f"({INT8:#x}) are supported."
            )
    if not config:
        raise ModelError(f"{path} has no {CONFIG}, which says how the model is built.")
    return ModelItems(config, floats, quantized)
