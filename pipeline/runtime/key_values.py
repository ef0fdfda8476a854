"""The keys and values of places for texts, in the memory of the device that computes them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import UsageError
from ..graphs.devices import DeviceMemory
from .bound_run import Address, Bound
from .device_errors import OUT_OF_MEMORY
from .sessions import Session


class TokenPlace(NamedTuple):
    """A token of a place."""

    place: int
    token: int


class KeyValueSize(NamedTuple):
    """``arrays``: one for the keys and one for the values of each layer, ``(places, heads, tokens, width)``."""

    arrays: int
    places: int
    heads: int
    tokens: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.places, self.heads, self.tokens, self.width


class KeyValues(Protocol):
    """Fixed at the start and filled with zeros."""

    size: KeyValueSize
    nbytes: int

    def bound(self, first: int, rows: int) -> Sequence[Bound | Address]:
        """Each array, from the place ``first``, ``rows`` of them: keys and values of the first layer, then the next."""
        ...

    def copy(self, source: "KeyValues", begin: TokenPlace, to: TokenPlace, count: int) -> None:
        """Copy ``count`` tokens from ``begin`` in ``source``, which is on the same device, to ``to`` here."""
        ...

    def read(self, place: int, count: int) -> list[bytes]:
        """The first ``count`` tokens of a place in each array, on the host."""
        ...


class HostKeyValues:
    """In the memory of the host. See `KeyValues`."""

    def __init__(self, size: KeyValueSize, kind: np.dtype[Any]) -> None:
        self.size = size
        self.arrays = [np.zeros(size.shape, kind) for _ in range(size.arrays)]
        for array in self.arrays:
            array.fill(0)  # the first use of a page costs more than a later one
        self.nbytes = sum(array.nbytes for array in self.arrays)

    def bound(self, first: int, rows: int) -> list[Bound]:
        return [Bound(array[first:], (rows, *array.shape[1:])) for array in self.arrays]

    def copy(self, source: KeyValues, begin: TokenPlace, to: TokenPlace, count: int) -> None:
        assert isinstance(source, HostKeyValues)
        for array, other in zip(self.arrays, source.arrays, strict=True):
            copied = other[begin.place, :, begin.token : begin.token + count]
            array[to.place, :, to.token : to.token + count] = copied

    def read(self, place: int, count: int) -> list[bytes]:
        return [array[place, :, :count].tobytes() for array in self.arrays]


class DeviceKeyValues:
    """In the memory of a device, where they stay. See `KeyValues`."""

    def __init__(
        self, size: KeyValueSize, kind: np.dtype[Any], memory: DeviceMemory, copies: Session
    ) -> None:
        """``copies``: a session on the device with the graph `copying`, with a part for each head of each array."""
        self.size = size
        self._kind = kind
        self._copies = copies
        zeros = np.zeros(size.shape, kind)
        self.nbytes = size.arrays * zeros.nbytes
        # From zeros, since memory may hold numbers that are none, and 0 times such a one is none.
        self._values = [_value_of(zeros, memory, self.nbytes) for _ in range(size.arrays)]

    def bound(self, first: int, rows: int) -> list[Address]:
        place = self.size.heads * self.size.tokens * self.size.width * self._kind.itemsize
        shape = (rows, *self.size.shape[1:])
        return [Address(value.data_ptr() + first * place, self._kind, shape) for value in self._values]

    def copy(self, source: KeyValues, begin: TokenPlace, to: TokenPlace, count: int) -> None:
        assert isinstance(source, DeviceKeyValues)
        if count:
            self._copies.bind(
                {f"from_{number}": part for number, part in enumerate(source._parts(begin, count))},
                {f"to_{number}": part for number, part in enumerate(self._parts(to, count))},
            ).run()

    def read(self, place: int, count: int) -> list[bytes]:
        return [value.numpy()[place, :, :count].tobytes() for value in self._values]

    def _parts(self, begin: TokenPlace, count: int) -> Iterator[Address]:
        """The tokens of each head, which are not neighbors of those of the next one."""
        size = self.size
        for value in self._values:
            for head in range(size.heads):
                token = (begin.place * size.heads + head) * size.tokens + begin.token
                yield Address(
                    value.data_ptr() + token * size.width * self._kind.itemsize,
                    self._kind,
                    (count * size.width,),
                )


class KeyValueMaker:
    """Makes the keys and values for the graph of a session, where its device has them."""

    def __init__(self, session: Session) -> None:
        shapes = session.input_shapes
        self._arrays = 2 * sum(name.startswith("keys_") for name in shapes)
        _, heads, _, width = shapes["keys_0"]
        self._heads = int(heads)
        self._width = int(width)
        self._kind = session.input_types["keys_0"]
        self._memory = session.memory
        self._copies = _copies(session, self._arrays * self._heads, self._kind)

    @property
    def on_host(self) -> bool:
        """Whether they are in the memory of the host."""
        return self._copies is None

    def nbytes_of(self, places: int, tokens: int) -> int:
        """How many bytes `make` takes."""
        return self._arrays * places * self._heads * tokens * self._width * self._kind.itemsize

    def make(self, places: int, tokens: int) -> KeyValues:
        """Raises UsageError if the device has no memory for them."""
        size = KeyValueSize(self._arrays, places, self._heads, tokens, self._width)
        if self._copies is None:
            return HostKeyValues(size, self._kind)
        # An allocator need not have an answer for no bytes.
        return DeviceKeyValues(size._replace(tokens=max(tokens, 1)), self._kind, self._memory, self._copies)


def _copies(session: Session, parts: int, kind: np.dtype[Any]) -> Session | None:
    if not session.memory.apart:
        return None
    from ..graphs.copying import copying_graph  # what it imports is for devices apart only

    return session.beside(copying_graph(parts, kind.name))


def _value_of(array: NDArray[Any], memory: DeviceMemory, nbytes: int) -> Any:
    try:
        value = ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, memory.name, 0)
        value.update_inplace(array)
    except Exception as error:
        if not any(part in str(error).lower() for part in OUT_OF_MEMORY):
            raise
        raise UsageError(
            f"The device has no memory for {nbytes / 1e9:.1f} GB of keys and values: set fewer `rows`, a shorter "
            "`context`, fewer `prefix_tokens` or fewer `lanes`."
        ) from error
    return value
