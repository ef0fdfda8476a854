"""Bounds the share of a thread's time for work whose cost is known only when it is done."""

import threading
import time
from collections.abc import Callable
from typing import Final

from ...errors import Overloaded

SHARE: Final = 0.5
BURST_S: Final = 1.0


class SlowWork:
    """What was spent counts until as much time has passed as its share takes. Several threads may call it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent = 0.0
        self._at = clock()
        self._counting = threading.Lock()

    def check(self) -> None:
        """Raises Overloaded, with the time to come back, while too much was spent."""
        with self._counting:
            left_s = (self._now() - BURST_S) / SHARE
        if left_s > 0:
            raise Overloaded(
                "Grammars that are slow to compile take all time there is for them: send the request again later, "
                "or with a simpler grammar.",
                int(1e3 * left_s) + 1,
            )

    def add(self, seconds: float) -> None:
        with self._counting:
            self._spent = self._now() + seconds

    def _now(self) -> float:
        now = self._clock()
        self._spent = max(0.0, self._spent - SHARE * (now - self._at))
        self._at = now
        return self._spent
