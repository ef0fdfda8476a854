"""Devices that only sleep: with them a machine with few cores shows how workers share the work of busy devices."""

import time
from typing import NamedTuple

from ..engine.batching import Limits
from ..engine.cost import Cost
from ..engine.device import Device
from ..engine.lanes import LaneSettings
from ..runtime.model import Model


class SleepTimes(NamedTuple):
    """How long a run takes: ``call_ms``, and ``row_ms`` more for each row."""

    call_ms: float
    row_ms: float

    def sleep(self, rows: int) -> None:
        """Take as long as a run of ``rows`` rows."""
        time.sleep((self.call_ms + self.row_ms * rows) / 1e3)

    def rows_per_s(self, rows: int) -> float:
        """The rate in batches of ``rows`` rows."""
        return rows / (self.call_ms + self.row_ms * rows) * 1e3

    def device(self, model: Model, limits: Limits) -> Device:
        """One lane for a model whose graph sleeps; what a run costs is known."""
        costs = {phase: Cost((self.call_ms, self.row_ms, 1e-6, 1e-9)) for phase in model.phases}
        lane = LaneSettings(1, time.monotonic, time.monotonic)
        return Device(model, limits, costs, lane)
