"""Single-flight: requests for the same content share one run of the device."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeadlineExceeded, InferstreamError
from ..tasks.base import Task
from .batching import PRIORITY_DELAYS_S, Entry

EXPIRED = "The deadline passed before the device was reached: send the request again with a later deadline."


@dataclass(eq=False, slots=True)
class Flight:
    """One content on its way through the device, for everyone who waits for it.

    All who wait are equal: whoever leaves takes nothing along, and only when the last has left are its rows dropped.
    The stamps are clock seconds; ``shape`` is (rows, tokens, padded tokens) of the batch that ran last; ``coming``
    counts those who have joined and whose tasks have not had their first turn yet.
    """

    key: bytes
    task: Task
    text: str
    options: Any
    started: float
    expires: float = -math.inf
    priority: int = 1
    waiters: set["asyncio.Future[Flight]"] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    outputs: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    coming: int = 1
    over: bool = False
    cancelled: bool = False
    suspect: bool = False
    prepared: float = 0.0
    ran: float = 0.0
    landed: float = 0.0
    run_ms: float = 0.0
    shape: tuple[int, int, int] = (0, 0, 0)
    from_disk: bool = False
    result: bytes | InferstreamError = b""

    def board(self, entries: list[Entry], now: float) -> None:
        """The rows that must run before the flight lands."""
        self.entries, self.prepared = entries, now
        self._pass_on()

    def extend(self, expires: float, priority: int) -> None:
        """Somebody with this deadline and this priority has joined."""
        self.coming += 1
        self.expires, self.priority = max(self.expires, expires), min(self.priority, priority)
        self._pass_on()

    def cancel(self) -> None:
        """Nobody waits any more: keep what has not run yet off the device."""
        self.cancelled = True
        self._pass_on()

    def _pass_on(self) -> None:
        """Tell the rows. Whichever thread is last, of the one that boards and the event loop, passes all on."""
        for entry in self.entries:
            entry.expires = self.expires
            entry.cancelled = self.cancelled
            entry.due = min(entry.due, entry.arrived + PRIORITY_DELAYS_S[self.priority])


class Flights:
    """The flights in the air, by content key. Lives on the event loop."""

    def __init__(
        self, clock: Callable[[], float], hurry: Callable[[Flight], None] = lambda flight: None
    ) -> None:
        """``hurry`` is called for a flight that has become more urgent."""
        self._flights: dict[bytes, Flight] = {}
        self._clock, self._hurry = clock, hurry

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: bytes, expires: float, priority: int) -> Flight | None:
        """The flight that is in the air for this content, kept there at least until ``expires``.

        Whoever joins owes a `wait`.
        """
        flight = self._flights.get(key)
        if flight is None or flight.expires <= self._clock():  # a lane may be dropping its rows just now
            return None
        more_urgent = priority < flight.priority
        flight.extend(expires, priority)
        if more_urgent:
            self._hurry(flight)
        return flight

    def start(self, flight: Flight) -> None:
        self._flights[flight.key] = flight

    async def wait(self, flight: Flight, expires: float) -> Flight:
        """Wait until the flight has landed. Raises its error, or DeadlineExceeded when ``expires`` comes first."""
        flight.coming -= 1
        if flight.over:
            return _landed(flight)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Flight] = loop.create_future()
        flight.waiters.add(waiter)
        timer = None if expires == math.inf else loop.call_later(expires - self._clock(), _expire, waiter)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in flight.waiters:
                self._leave(flight, waiter)

    def land(self, flight: Flight) -> None:
        """Give the result, or the error, to everyone who waits."""
        self._remove(flight)
        flight.over = True
        # A row knows its flight: without this both would wait for the garbage collector, which runs rarely.
        flight.entries, flight.outputs = [], {}
        waiters, flight.waiters = flight.waiters, set()
        for waiter in waiters:
            if waiter.done():
                continue
            if isinstance(flight.result, InferstreamError):
                waiter.set_exception(flight.result)
            else:
                waiter.set_result(flight)

    def _leave(self, flight: Flight, waiter: "asyncio.Future[Flight]") -> None:
        flight.waiters.remove(waiter)
        if not flight.waiters and not flight.coming:
            self._remove(flight)
            flight.cancel()

    def _remove(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


def _landed(flight: Flight) -> Flight:
    if isinstance(flight.result, InferstreamError):
        raise flight.result
    return flight


def _expire(waiter: asyncio.Future[Flight]) -> None:
    if not waiter.done():
        waiter.set_exception(DeadlineExceeded(EXPIRED))
