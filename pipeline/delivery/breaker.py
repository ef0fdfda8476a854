"""Stops a worker when too many requests become dead letters: it reads no more, and drops none."""

import logging
from collections import deque
from collections.abc import Callable

from ..config import BreakerConfig

log = logging.getLogger(__name__)


class Breaker:
    """Closed: the worker reads. Open: it does not; after the cooldown one record is a trial.

    Counts the requests that the device answered, and the dead letters that the worker is to blame
    for. Bad requests and cached answers do not count: they do not show whether the device works.
    """

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._recent: deque[bool] = deque(maxlen=config.window)
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._trial_runs = False

    @property
    def is_open(self) -> bool:
        """Whether reading has stopped. Also true while a trial runs."""
        return self._opened_at is not None

    def room(self, wanted: int) -> int:
        """How many of ``wanted`` records may be read now."""
        if self._opened_at is None:
            return wanted
        if self._trial_runs or self._clock() - self._opened_at < self._config.cooldown_s:
            return 0
        return min(1, wanted)

    def begin_trial(self) -> bool:
        """Call for each record read. True if it is a trial: then the caller must call `end_trial`."""
        self._trial_runs = self._opened_at is not None
        return self._trial_runs

    def end_trial(self) -> None:
        """The trial has ended. If it decided nothing (e.g. a bad request), another one may begin."""
        self._trial_runs = False

    def answered(self) -> None:
        """The device answered a request. Closes the breaker if this was the trial."""
        self._in_a_row = 0
        self._recent.append(True)
        if self._trial_runs:
            log.warning("The trial request was answered: reading goes on.")
            self._opened_at = None
            self._trial_runs = False
            self._recent.clear()

    def dead(self) -> None:
        """A request became a dead letter. Opens after too many, or if this was the trial."""
        self._in_a_row += 1
        self._recent.append(False)
        if self._trial_runs or (not self.is_open and self._too_many()):
            self._open()

    def trial_failed(self) -> None:
        """A request must be retried later. If it was the trial, the cooldown begins again."""
        if self._trial_runs:
            self._open()

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._trial_runs = False
        log.error(
            "%d dead letters in a row, %d of the last %d requests: nothing more is read for %g s, then one "
            "request is tried. `inferstream dead-letters list` shows what failed.",
            self._in_a_row,
            self._recent.count(False),
            len(self._recent),
            self._config.cooldown_s,
        )

    def _too_many(self) -> bool:
        if self._in_a_row >= self._config.in_a_row:
            return True
        full = len(self._recent) == self._recent.maxlen
        return full and self._recent.count(False) > self._config.share * len(self._recent)
