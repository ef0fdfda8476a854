"""Stops a worker that turns request after request into dead letters. It never drops: it stops reading."""

import logging
from collections import deque
from collections.abc import Callable

from ..config import BreakerConfig

log = logging.getLogger(__name__)


class Breaker:
    """Closed: read. Open: do not read. After a while half open: one record is tried, and decides.

    Counts dead letters that the worker is to blame for, among requests that the device had to do with: neither what is
    wrong with a request itself nor an answer from the cache tells whether the device works.
    """

    def __init__(self, config: BreakerConfig, clock: Callable[[], float]) -> None:
        self._config, self._clock = config, clock
        self._recent: deque[bool] = deque(maxlen=config.window)
        self._in_a_row = 0
        self._opened: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether reading has stopped, a trial included."""
        return self._opened is not None

    def room(self, wanted: int) -> int:
        """How many of ``wanted`` records may be read now."""
        if self._opened is None:
            return wanted
        if self._trying or self._clock() - self._opened < self._config.cooldown_s:
            return 0
        return min(1, wanted)

    def trying(self) -> bool:
        """A record was read; with the breaker open it is the trial. Then the caller owes a `tried`."""
        self._trying = self.is_open
        return self._trying

    def tried(self) -> None:
        """The trial has ended. If that decided nothing (a bad request, a partition lost), another one may begin."""
        self._trying = False

    def answered(self) -> None:
        """The device answered a request: close, if this was the trial."""
        self._in_a_row = 0
        self._recent.append(True)
        if self._trying:
            log.warning("The trial request was answered: reading goes on.")
            self._opened, self._trying = None, False
            self._recent.clear()

    def dead(self) -> None:
        """A request became a dead letter: open, if these are too many."""
        self._in_a_row += 1
        self._recent.append(False)
        if self._trying or (not self.is_open and self._too_many()):
            self._open()

    def put_off(self) -> None:
        """A request is to be tried again later: as the trial it has failed."""
        if self._trying:
            self._open()

    def _open(self) -> None:
        self._opened, self._trying = self._clock(), False
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
