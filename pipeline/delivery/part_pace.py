"""Parts of one answer are some time apart, so that fast steps do not make a record each."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from ..engine.flight import Flight

GATHER_S: Final = 0.02
"""No reader sees 50 parts a second apart. With Kafka each costs 0.6 to 0.8 ms of CPU time, a tenth of a step of one row
on the same core (docs/decisions/0028)."""

Later = Callable[[float, Callable[[], None]], asyncio.TimerHandle]
"""Calls a function after some seconds, on the event loop."""


def on_the_loop(delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    """`Later` of the running loop."""
    return asyncio.get_running_loop().call_later(delay_s, call)


class PartPace:
    """Says when the next part may be told. While a part is due later its flight does not call for this answer."""

    def __init__(
        self,
        gather_s: float = GATHER_S,
        clock: Callable[[], float] = time.monotonic,
        later: Later = on_the_loop,
    ) -> None:
        self._gather_s = gather_s
        self._clock = clock
        self._later = later
        self._due_s = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._flight: Flight | None = None

    def told(self) -> None:
        """All that is known was told just now."""
        self._due_s = self._clock() + self._gather_s

    def waits(self, flight: Flight, say: Callable[[], None]) -> bool:
        """Whether the next part is not due yet: then ``say`` is called when it is, unless `stop` is called before."""
        if self._timer is None and (left_s := self._due_s - self._clock()) > 0:
            self._timer = self._later(left_s, lambda: self._come(say))
            self._flight = flight
            flight.not_calling += 1
        return self._timer is not None

    def stop(self) -> None:
        """Call nothing any more."""
        if self._timer is not None and self._flight is not None:
            self._timer.cancel()
            self._timer = None
            self._flight.not_calling -= 1
            self._flight = None

    def _come(self, say: Callable[[], None]) -> None:
        self.stop()
        self._due_s = -math.inf
        say()
