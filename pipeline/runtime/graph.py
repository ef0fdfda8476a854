"""A graph that is loaded on a device: named arrays in, arrays out."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from numpy.typing import NDArray

from ..errors import DeviceError

Feeds = Mapping[str, NDArray[Any]]
"""The inputs of one run by name. The first dimension of each is the row of the batch."""


class Graph(Protocol):
    """See `runtime/sessions.Session`. Several threads may call it at once."""

    def run(self, feeds: Feeds) -> Sequence[NDArray[Any]]:
        """Run one batch; returns the outputs in the order of the graph, each with one entry for
        each row.

        An encoder takes ``input_ids`` and ``attention_mask``, int64 (rows, length), and returns one
        output: float32 (rows, dimensions). Raises DeviceError, DeviceOutOfMemory, DeviceUnavailable
        or DeviceLost.
        """
        ...


class NoGraph:
    """The graph of a task that needs none."""

    def run(self, feeds: Feeds) -> NoReturn:
        """Raises DeviceError."""
        raise DeviceError("This model has no graph: its task must answer without one.")
