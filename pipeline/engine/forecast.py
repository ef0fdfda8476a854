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
    batching saves time. Steps of later phases have a pace of their own, since more rows share them.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._pace = 1.0
        self._further_pace = 1.0
        self._batch_ms = 0.0
        self._step_ms = 0.0

    def observe(self, wall_ms: float, solo_ms: float, *, further: bool = False) -> None:
        """Account for a batch of rows with a summed solo cost of ``solo_ms``.

        ``further``: it was not the first step of its rows.
        """
        self._batch_ms += EWMA_WEIGHT * (wall_ms - self._batch_ms)
        ratio = min(wall_ms / solo_ms, MAX_RATIO) if solo_ms > 0 else None
        if further:
            # The first step counts alone: a process that was suspended in it would refuse every deadline.
            step_ms = wall_ms if ratio is None else ratio * solo_ms
            self._step_ms += (EWMA_WEIGHT if self._step_ms else 1.0) * (step_ms - self._step_ms)
            if ratio is not None:
                self._further_pace += EWMA_WEIGHT * (ratio - self._further_pace)
        elif ratio is not None:
            self._pace += EWMA_WEIGHT * (ratio - self._pace)

    def drain_s(self, solo_ms: float, further_ms: float = 0.0) -> float:
        """Wall seconds to run rows whose summed solo cost is ``solo_ms``, of it ``further_ms`` in later phases."""
        paced_ms = (solo_ms - further_ms) * self._pace + further_ms * self._further_pace
        return paced_ms / self._lanes / 1e3

    def steps_s(self, steps: float) -> float:
        """Wall seconds of ``steps`` steps of one row, which it shares with others."""
        return steps * self._step_ms / 1e3

    def wait_s(self, before_ms: float, blocking_ms: float = 0.0, *, busy: bool) -> float:
        """Predicted seconds until a new row has run.

        Args:
            before_ms: the summed solo cost of what begins before it.
            blocking_ms: that of later steps which end before it begins.
            busy: whether all lanes run a batch: then it also waits for `EXTRA_BATCHES`.
        """
        before_s = self.drain_s(before_ms + blocking_ms, blocking_ms)
        return before_s + (EXTRA_BATCHES * self._batch_ms / 1e3 if busy else 0.0)
