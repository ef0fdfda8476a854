"""Single-flight: requests for the same content share one run of the device."""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import DeadlineExceeded, InferstreamError
from ..tasks.base import Task
from .batcher import Batcher
from .batching import PRIORITY_DELAYS_S, BatchStats, Entry
from .shared_error import own_copy, without_frames
from .tenant_work import Part

EXPIRED = "The deadline passed before the device was reached: send the request again with a later deadline."


class TooLate(DeadlineExceeded):
    """The rows were dropped since they would have missed ``judged``, the latest deadline known then.

    It is the error of the requests with that deadline or an earlier one. A later one may have joined.
    """

    def __init__(self, judged: float) -> None:
        super().__init__(EXPIRED)
        self.judged = judged


class Dropped(Exception):
    """The flight ended for the deadline of other requests: this one must start a new flight."""


@dataclass(eq=False, slots=True)
class Flight:
    """One content on its way through the device, shared by all requests for it.

    Waiters are independent. The rows are dropped only when the last waiter has left. Stamps are
    clock seconds.
    """

    # Fixed when it is created.
    key: bytes
    task: Task
    batcher: Batcher
    text: str
    options: Any
    started_at: float
    suspect: bool = False  # the content was on the device when a process died
    tenant: str = ""

    # Written by the batcher: what the account expects while the text is not tokenized.
    expected: Sequence[Part] = ()

    # Written by the event loop, here and in `Flights`.
    expires: float = math.inf
    priority: int = 1
    waiters: set["asyncio.Future[bytes]"] = field(default_factory=set)
    joining: int = 1  # requests that have joined and do not wait yet
    abandoned: bool = False
    landed: bool = False

    # Written by the preparing thread, in `board`; `Flights.land` empties ``entries``.
    entries: list[Entry] = field(default_factory=list)
    prepared_at: float = 0.0

    # Written by the lanes of one device: in `add_output` they hold its outputs lock, and the lane
    # that ran the last row sets ``finished_at``.
    outputs: int = 0  # rows that have run
    ran_at: float = 0.0
    batch: BatchStats | None = None  # of the row that ran last; stays None if the answer was on disk
    finished_at: float = 0.0

    # Written once, before landing: by the preparing thread if the answer is on disk or the text
    # cannot be tokenized, otherwise by a lane. Of two lanes that fail two rows at the same moment
    # both may write their error, and the last one stays.
    result: bytes | InferstreamError | None = None

    def board(self, entries: list[Entry], now: float) -> None:
        """Set the rows that must run before the flight lands."""
        self.entries = entries
        self.prepared_at = now
        self._update_entries()

    def extend(self, expires: float, priority: int) -> None:
        """Account for a new waiter: the latest deadline and the highest priority count."""
        self.joining += 1
        self.expires = max(self.expires, expires)
        self.priority = min(self.priority, priority)
        self._update_entries()

    def abandon(self) -> None:
        """Drop the rows that have not run: the last waiter has left."""
        self.abandoned = True
        self._update_entries()

    def add_output(self, entry: Entry, output: Any, ran_at: float, batch: BatchStats) -> bool:
        """Store the output of one row. Returns whether all rows have run now."""
        entry.output = output
        self.outputs += 1
        self.ran_at = ran_at
        self.batch = batch
        # Never true after a failure: a row has no output, or the flight has landed without entries.
        return self.outputs == len(self.entries)

    def fail(self, error: InferstreamError) -> None:
        """End with this error, and drop the rows that have not run."""
        self.result = without_frames(error)
        self._update_entries()

    def _update_entries(self) -> None:
        """Copy deadline, priority and cancellation to the rows.

        The preparing thread, a lane and the event loop call this, each after it has changed the
        flight, so the last of them copies everything. No statement calls a function between its
        read and its write: under the GIL no other thread runs in between.
        """
        for entry in self.entries:
            entry.expires = self.expires
            entry.cancelled = self.abandoned or self.result is not None
            due = entry.arrived + PRIORITY_DELAYS_S[self.priority]
            if due < entry.due:  # noqa: PLR1730 - min() would be a call
                entry.due = due


class Flights:
    """The flights that have not landed, by content key. Lives on the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._flights: dict[bytes, Flight] = {}
        self._clock = clock

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: bytes, expires: float, priority: int) -> Flight | None:
        """Join the flight for this content, with this deadline and priority; None if there is none.

        The caller must then await `wait`: until it does, the flight is not abandoned.
        """
        flight = self._flights.get(key)
        if flight is None or isinstance(flight.result, InferstreamError):
            return None
        if flight.expires <= self._clock():  # a lane may be dropping its rows just now
            return None
        more_urgent = priority < flight.priority
        flight.extend(expires, priority)
        if more_urgent:
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
    """End the flights of these rows, which were dropped as too late or cancelled, and return them."""
    late: dict[Flight, float] = {}
    for entry in entries:
        late[entry.flight] = max(entry.judged, late.get(entry.flight, -math.inf))
    failed = [flight for flight in late if flight.result is None]
    for flight in failed:
        flight.fail(TooLate(late[flight]))
    return failed


def _result(flight: Flight) -> bytes:
    if isinstance(flight.result, InferstreamError):
        raise own_copy(flight.result)
    assert flight.result is not None
    return flight.result


def _expire(waiter: "asyncio.Future[bytes]") -> None:
    if not waiter.done():
        waiter.set_exception(DeadlineExceeded(EXPIRED))
