"""The device of models that have no graph: their tasks answer all requests while they prepare them."""

import time
from collections.abc import Sequence
from typing import NoReturn

from ..errors import DeviceError
from ..runtime.model import RUN, Row
from .batching import Limits
from .cost import Cost
from .device import Device
from .lanes import LaneSettings

FREE = (1e-9, 1e-9, 1e-9, 1e-9)
"""Costs of a shape, see `cost.PRIOR`: a request never waits for this device, so none is refused for its deadline."""


class _NoRows:
    """The `Model` of a device that runs nothing."""

    phases: Sequence[str] = (RUN,)

    def step(self, rows: Sequence[Row]) -> NoReturn:
        """Raises DeviceError: the task has promised to answer without rows."""
        raise DeviceError("The task made rows for a model that has no graph.")

    def drop(self, rows: Sequence[Row]) -> None:
        """Nothing is kept."""


def device_without_rows() -> Device:
    """A device with one lane, which waits for ever."""
    return Device(
        _NoRows(), Limits(1, 1), {RUN: Cost(FREE)}, LaneSettings(1, time.monotonic, time.thread_time)
    )
