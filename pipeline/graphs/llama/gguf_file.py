"""Reads the header of a GGUF file: its settings, and where its tensors are.

The layout, little endian: "GGUF", u32 version, u64 number of tensors, u64 number of settings; the settings (name,
u32 type, value); for each tensor its name, u32 dimensions, u64 sizes from the innermost on, u32 kind, u64 place;
padding; then the data. A string is u64 bytes and UTF-8; an array u32 type, u64 length and its elements.

The package `gguf` reads the same in 2.4 s where this takes 0.1 s, does not check lengths, and needs `requests`:
the tests write with it and compare with it.
"""

import mmap
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import ModelError, UsageError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST = 1_000_000  # settings or tensors
DIMENSIONS = 4
LONGEST_NAME = 256
"""Bytes of the name of a setting or a tensor: llama.cpp reads names of tensors of 63."""

ALIGNMENT = 32
LARGEST_ALIGNMENT = 1 << 20

STRING = 8
ARRAY = 9
NUMBERS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""The scalar types of settings, as NumPy names them."""


class StoredKind(NamedTuple):
    """How a tensor is stored: a block of ``size`` elements takes ``bytes``."""

    name: str
    size: int
    bytes: int


KINDS = {
    0: StoredKind("F32", 1, 4),
    1: StoredKind("F16", 1, 2),
    2: StoredKind("Q4_0", 32, 18),
    3: StoredKind("Q4_1", 32, 20),
    6: StoredKind("Q5_0", 32, 22),
    7: StoredKind("Q5_1", 32, 24),
    8: StoredKind("Q8_0", 32, 34),
    12: StoredKind("Q4_K", 256, 144),
    13: StoredKind("Q5_K", 256, 176),
    14: StoredKind("Q6_K", 256, 210),
    30: StoredKind("BF16", 1, 2),
}
REFUSED = {10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S"} | {
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}


class StoredTensor(NamedTuple):
    """A tensor as it is in the file; ``shape`` has the outermost dimension first."""

    kind: StoredKind
    shape: tuple[int, ...]
    data: memoryview


class GgufFile(NamedTuple):
    """What a GGUF file has."""

    path: Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]


def read_gguf(path: Path) -> GgufFile:
    """Read the header; the tensors stay in the file. Raises UsageError for another format or a kind of tensor
    that is not supported, ModelError for a file that is damaged or cut off.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UsageError(f"{path} is no GGUF file.")
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        return _parsed(_Cursor(content, len(MAGIC)), path)
    except struct.error as error:
        raise ModelError(f"{path} is no whole GGUF file: it ends inside of its header.") from error
    except ValueError as error:
        raise ModelError(f"{path} is no whole GGUF file: {error}.") from error


class _Cursor:
    """A place in the file. Everything that would end behind the file is an error before it is made."""

    def __init__(self, content: memoryview, place: int) -> None:
        self.content = content
        self.place = place

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return value

    def bytes(self, count: int) -> memoryview:
        end = self.place + count
        if end > len(self.content):
            raise ValueError(f"it ends inside of {count} bytes at {self.place}")
        found = self.content[self.place : end]
        self.place = end
        return found

    def string(self) -> str:
        return str(self.bytes(self.number("<Q")), "utf-8")

    def name(self) -> str:
        """Of a setting or a tensor: it comes into sentences."""
        found = self.bytes(self.number("<Q"))
        if len(found) > LONGEST_NAME:
            raise ValueError(f"it has a name of {len(found)} bytes")
        name = str(found, "utf-8")
        if not name.isprintable():
            raise ValueError(f"it has the name {name!r}")
        return name

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array()
        if kind not in NUMBERS:
            raise ValueError(f"it has a setting of the type {kind}")
        return self._numbers(kind, 1)[0]

    def _array(self) -> list[Any]:
        kind = self.number("<I")
        count = self.number("<Q")
        if kind == STRING:
            if count > len(self.content):  # a string has 8 bytes at least
                raise ValueError(f"it has a list of {count} texts")
            return [self.string() for _ in range(count)]
        if kind not in NUMBERS:
            raise ValueError(f"it has a list of elements of the type {kind}")
        return self._numbers(kind, count)

    def _numbers(self, kind: int, count: int) -> list[Any]:
        form = np.dtype(NUMBERS[kind])
        found: list[Any] = np.frombuffer(self.bytes(form.itemsize * count), form).tolist()
        return found


def _parsed(cursor: _Cursor, path: Path) -> GgufFile:
    version = cursor.number("<I")
    if version not in VERSIONS:
        raise UsageError(f"{path} has version {version} of GGUF; only 2 and 3 are supported.")
    tensors = cursor.number("<Q")
    settings = cursor.number("<Q")
    if max(tensors, settings) > MOST:
        raise ValueError(f"it claims to have {tensors} tensors and {settings} settings")
    found: dict[str, Any] = {}
    for _ in range(settings):
        name = cursor.name()
        found[name] = cursor.value(cursor.number("<I"))
    places = [_tensor_info(cursor, path) for _ in range(tensors)]
    alignment = found.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= LARGEST_ALIGNMENT:
        raise ValueError(f"it has general.alignment = {alignment}")
    start = -(-cursor.place // alignment) * alignment
    stored: dict[str, StoredTensor] = {}
    for name, kind, shape, place in places:
        if name in stored:
            raise ValueError(f"it has {name} twice")
        cursor.place = start + place
        size = prod(shape) // kind.size * kind.bytes
        stored[name] = StoredTensor(kind, shape, cursor.bytes(size))
    return GgufFile(path, found, stored)


def _tensor_info(cursor: _Cursor, path: Path) -> tuple[str, StoredKind, tuple[int, ...], int]:
    name = cursor.name()
    dimensions = cursor.number("<I")
    if not 0 < dimensions <= DIMENSIONS:
        raise ValueError(f"it has {name} with {dimensions} dimensions")
    shape = tuple(cursor.number("<Q") for _ in range(dimensions))[::-1]
    number = cursor.number("<I")
    place = cursor.number("<Q")
    kind = KINDS.get(number)
    if kind is None:
        supported = ", ".join(kind.name for kind in KINDS.values())
        shown = REFUSED.get(number, f"kind {number}")
        raise UsageError(f"{path} has {name} as {shown}; only {supported} are supported.")
    if shape[-1] % kind.size:
        raise ValueError(f"it has {name} of the shape {shape} as {kind.name}")
    return name, kind, shape, place
