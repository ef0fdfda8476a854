"""Notices a run of the device that does not return."""

from typing import Final, NamedTuple

from ..errors import DeviceLost

TICK_S: Final = 1.0
"""Seconds between two calls of `RunLimit.check`."""

PREDICTED_TIMES: Final = 50.0
"""A run may take this multiple of its prediction: a device that others share can be that slow."""


class DeviceRun(NamedTuple):
    """A batch on a lane. ``number`` differs between the runs of a lane."""

    number: int
    rows: int
    tokens: int
    predicted_s: float


class RunLimit:
    """Counts, for each lane, the checks during which the same run was in progress.

    Counts checks, not seconds: after the whole process was suspended, seconds have passed and the
    device is fine. Lanes write `begin` and `end`, one thread calls `check`.
    """

    def __init__(self, lanes: int, floor_s: float) -> None:
        """A run that takes less than ``floor_s`` is never at fault."""
        self._floor_s = floor_s
        self._running: list[DeviceRun | None] = [None] * lanes
        self._seen: list[DeviceRun | None] = [None] * lanes
        self._ticks = [0] * lanes
        self._number = 0
        self.exceeded = False

    def begin(self, lane: int, rows: int, tokens: int, predicted_s: float) -> None:
        self._number += 1
        self._running[lane] = DeviceRun(self._number, rows, tokens, predicted_s)

    def end(self, lane: int) -> None:
        self._running[lane] = None

    def check(self) -> None:
        """Call it every `TICK_S`. Raises DeviceLost for a run that has taken too long."""
        for lane, run in enumerate(self._running):
            self._ticks[lane] = self._ticks[lane] + 1 if run is not None and run is self._seen[lane] else 0
            self._seen[lane] = run
            if run is None:
                continue
            limit_s = max(self._floor_s, run.predicted_s * PREDICTED_TIMES)
            if self._ticks[lane] * TICK_S >= limit_s:
                self.exceeded = True
                raise DeviceLost(
                    f"A run of {run.rows} rows with {run.tokens} tokens has not returned in {limit_s:g} s "
                    f"(predicted: {run.predicted_s:.3g} s): the process ends, and its requests are read again. "
                    "If the device may take that long, raise `run_timeout_s`."
                )
