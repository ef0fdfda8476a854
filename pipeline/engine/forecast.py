"""How long rows will wait for a device, predicted from the batches that ran on it."""

from collections.abc import Sequence

from .batching import PRIORITY_DELAYS_S

EWMA_WEIGHT = 0.1
"""Weight of the newest batch in each moving average."""

MAX_RATIO = 10.0
"""Bound of one batch's ratio of wall time to solo cost, so that one stall does not dominate."""

EXTRA_BATCHES = 2.0
"""While no lane is idle, a new row also waits for the running batch and for its own."""


class Forecast:
    """Predicts waiting times of one device. Pure: no clock, no threads; all times are arguments.

    The solo cost of a row is the predicted milliseconds of running it alone, `Entry.solo_ms`.
    ``pace`` is the wall time of a batch over the summed solo cost of its rows: below 1, since
    batching saves time.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._pace = 1.0
        self._batch_ms = 0.0
        self._row_solo_ms = 0.0

    def observe(self, rows: int, wall_ms: float, solo_ms: float) -> None:
        """Account for a batch of ``rows`` with a summed solo cost of ``solo_ms``."""
        self._batch_ms += EWMA_WEIGHT * (wall_ms - self._batch_ms)
        self._row_solo_ms += EWMA_WEIGHT * (solo_ms / rows - self._row_solo_ms)
        if solo_ms > 0:
            self._pace += EWMA_WEIGHT * (min(wall_ms / solo_ms, MAX_RATIO) - self._pace)

    def drain_s(self, solo_ms: float) -> float:
        """Wall seconds to run rows whose summed solo cost is ``solo_ms``, on all lanes."""
        return solo_ms * self._pace / self._lanes / 1e3

    def wait_s(self, priority: int, backlog_ms: Sequence[float], preparing: int, *, busy: bool) -> float:
        """Predicted seconds until a new row of this priority has run.

        It waits for the backlog of its own and higher priorities, for the rows that are being
        prepared, and while no lane is idle for `EXTRA_BATCHES`. Of a lower priority it waits for
        the rows that are due before it: those that will have waited for the difference of the two
        priority delays.

        Args:
            backlog_ms: summed solo cost of the waiting rows, for each priority with the higher ones.
            preparing: flights that are not in the backlog yet; each counts as one row.
            busy: whether all lanes run a batch.
        """
        waits_s = [self.drain_s(level_ms) for level_ms in backlog_ms]
        total_s = waits_s[priority] + self.drain_s(preparing * self._row_solo_ms)
        for level in range(priority + 1, len(backlog_ms)):
            level_s = waits_s[level] - waits_s[level - 1]
            total_s += max(0.0, level_s - (PRIORITY_DELAYS_S[level] - PRIORITY_DELAYS_S[priority]))
        return total_s + (EXTRA_BATCHES * self._batch_ms / 1e3 if busy else 0.0)
