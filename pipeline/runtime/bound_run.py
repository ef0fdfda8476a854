"""Runs whose inputs and outputs stay where they are."""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..graphs.devices import ON_THE_HOST, DeviceMemory
from .device_errors import device_error


class Bound(NamedTuple):
    """Memory of the host that a run reads or writes; it must live as long as the run that has it."""

    array: NDArray[Any]
    """Its first element is the first one of the memory."""
    shape: tuple[int, ...]

    @property
    def view(self) -> NDArray[Any]:
        """The memory in this shape."""
        return self.array.reshape(-1)[: prod(self.shape)].reshape(self.shape)


class Address(NamedTuple):
    """Memory of the device, with the same duty."""

    address: int
    kind: np.dtype[Any]
    shape: tuple[int, ...]


class BoundRun:
    """Runs of one session whose inputs and outputs are always at the same places.

    If the memory of the device is apart, those of the host have a copy there: inputs are copied before a run, and
    outputs behind it.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        memory: DeviceMemory,
        inputs: Mapping[str, Bound | Address],
        outputs: Mapping[str, Bound | Address],
    ) -> None:
        self._session = session
        self._memory = memory
        self._binding = session.io_binding()
        self._sent: list[tuple[Any, NDArray[Any]]] = []
        self._fetched: list[tuple[Any, NDArray[Any]]] = []
        for name, bound in inputs.items():
            if isinstance(bound, Address) or name in ON_THE_HOST or not memory.apart:
                self._binding.bind_input(name, *self._place(bound))
            else:
                self._sent.append((self._copy_of(bound), bound.view))
                self._binding.bind_ortvalue_input(name, self._sent[-1][0])
        for name, bound in outputs.items():
            if isinstance(bound, Address) or not memory.apart:
                self._binding.bind_output(name, *self._place(bound))
            else:
                self._fetched.append((self._copy_of(bound), bound.view))
                self._binding.bind_ortvalue_output(name, self._fetched[-1][0])

    def run(self) -> None:
        """Run once. Raises as `Session.run`."""
        try:
            for value, view in self._sent:
                value.update_inplace(view)
            self._session.run_with_iobinding(self._binding)
            for value, view in self._fetched:
                view[...] = value.numpy()
        except Exception as error:
            raise device_error(error) from error

    def _place(self, bound: Bound | Address) -> tuple[str, int, Any, tuple[int, ...], int]:
        if isinstance(bound, Address):
            return self._memory.name, 0, bound.kind.type, bound.shape, bound.address
        return "cpu", 0, bound.array.dtype.type, bound.shape, bound.array.ctypes.data

    def _copy_of(self, bound: Bound) -> Any:
        return ort.OrtValue.ortvalue_from_shape_and_type(
            bound.shape, bound.array.dtype.type, self._memory.name, 0
        )
