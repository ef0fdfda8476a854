"""How long rows will wait for a device, predicted from the batches that ran on it."""

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
        self._step_ms = 0.0

    def observe(self, wall_ms: float, solo_ms: float, *, further: bool = False) -> None:
        """Account for a batch of rows with a summed solo cost of ``solo_ms``.

        ``further``: it was not the first step of its rows.
        """
        if further:
            self._step_ms += EWMA_WEIGHT * (wall_ms - self._step_ms)
        self._batch_ms += EWMA_WEIGHT * (wall_ms - self._batch_ms)
        if solo_ms > 0:
            self._pace += EWMA_WEIGHT * (min(wall_ms / solo_ms, MAX_RATIO) - self._pace)

    def drain_s(self, solo_ms: float) -> float:
        """Wall seconds to run rows whose summed solo cost is ``solo_ms``, on all lanes."""
        return solo_ms * self._pace / self._lanes / 1e3

    def steps_s(self, steps: float) -> float:
        """Wall seconds of ``steps`` steps of one row, which it shares with others."""
        return steps * self._step_ms / 1e3

    def wait_s(self, before_ms: float, *, busy: bool) -> float:
        """Predicted seconds until a new row has run.

        Args:
            before_ms: the summed solo cost of what runs before it.
            busy: whether all lanes run a batch: then it also waits for `EXTRA_BATCHES`.
        """
        return self.drain_s(before_ms) + (EXTRA_BATCHES * self._batch_ms / 1e3 if busy else 0.0)
