"""Single-flight: requests for the same content share one run of the device."""

import asyncio
import math
from collections.abc import Callable, Iterable

from ..errors import DeadlineExceeded, InferstreamError
from ..tasks.base import Task
from .batching import Entry
from .flight import Flight
from .flight_ends import EXPIRED, Dropped, GivenBack, TooLate
from .shared_error import own_copy


class Flights:
    """The flights that have not landed, by content key. Lives on the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._flights: dict[bytes, Flight] = {}
        self._clock = clock

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: bytes, expires: float, priority: int, partial: bool = False) -> Flight | None:
        """Join the flight for this content, with this deadline and priority; None if there is none.

        A request that may be superseded is ``partial``.

        The caller must then await `wait`: until it does, the flight is not abandoned.
        """
        flight = self._flights.get(key)
        if flight is None or flight.abandoned or isinstance(flight.result, InferstreamError):
            return None
        if flight.expires <= self._clock():  # a lane may be dropping its rows just now
            return None
        delay_s = flight.delay_s
        flight.extend(expires, priority, partial)
        if flight.delay_s < delay_s:
            flight.batcher.reschedule(flight.entries)
        return flight

    def start(self, flight: Flight) -> None:
        self._flights[flight.key] = flight

    async def wait(self, flight: Flight, expires: float) -> bytes:
        """The flight's result for a request with this deadline.

        Raises the flight's error, DeadlineExceeded at ``expires``, or Dropped.
        """
        try:
            return await self._land_or_expire(flight, expires)
        except TooLate as late:
            if expires <= max(late.judged, self._clock()):
                raise
        raise Dropped

    async def _land_or_expire(self, flight: Flight, expires: float) -> bytes:
        flight.joining -= 1
        if flight.landed:
            return _result(flight)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bytes] = loop.create_future()
        flight.waiters.add(waiter)
        timer = None if expires == math.inf else loop.call_later(expires - self._clock(), _expire, waiter)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in flight.waiters:
                self._leave(flight, waiter)
            del waiter  # it has the error, whose traceback has this frame: a cycle

    def land(self, flight: Flight) -> None:
        """Give the result, or the error, to every waiter."""
        self._remove(flight)
        flight.landed = True
        # Entries refer to their flight: the garbage collector, which runs rarely, would free both.
        flight.entries = []
        waiters = flight.waiters
        flight.waiters = set()
        for waiter in waiters:
            if waiter.done():
                continue
            if isinstance(flight.result, InferstreamError):
                waiter.set_exception(own_copy(flight.result))
            else:
                waiter.set_result(_result(flight))

    def _leave(self, flight: Flight, waiter: "asyncio.Future[bytes]") -> None:
        flight.waiters.remove(waiter)
        flight.check_pause()
        if not flight.waiters and not flight.joining:
            self._remove(flight)
            flight.abandon()

    def _remove(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


def by_task(flights: Iterable[Flight]) -> Iterable[list[Flight]]:
    """The flights, grouped by their task: it prepares and finishes several texts in one call."""
    groups: dict[Task, list[Flight]] = {}
    for flight in flights:
        groups.setdefault(flight.task, []).append(flight)
    return groups.values()


def fail_flights(entries: Iterable[Entry], error: InferstreamError) -> list[Flight]:
    """End the flights of these rows with ``error``, and return them.

    A flight that has already failed keeps its first error, which is why its other rows are dropped.
    """
    flights = [flight for flight in dict.fromkeys(entry.flight for entry in entries) if flight.result is None]
    for flight in flights:
        flight.fail(error)
    return flights


def fail_late(entries: Iterable[Entry]) -> list[Flight]:
    """End the flights of these rows, which were dropped as too late, cancelled or given back, and return them."""
    late: dict[Flight, float] = {}
    for entry in entries:
        late[entry.flight] = max(entry.judged, late.get(entry.flight, -math.inf))
    failed = [flight for flight in late if flight.result is None]
    for flight in failed:
        flight.fail(GivenBack() if flight.given_back else TooLate(late[flight]))
    return failed


def tell_watchers(flights: Iterable[Flight]) -> None:
    """Pieces of these flights have come. Call it on the event loop."""
    for flight in flights:
        for watcher in list(flight.watchers):
            watcher()


def _result(flight: Flight) -> bytes:
    if isinstance(flight.result, InferstreamError):
        raise own_copy(flight.result)
    assert flight.result is not None
    return flight.result


def _expire(waiter: "asyncio.Future[bytes]") -> None:
    if not waiter.done():
        waiter.set_exception(DeadlineExceeded(EXPIRED))
