"""The thread between the event loop and the device: looks into the disk cache and tokenizes, many texts at a time."""

import queue
import threading
from collections.abc import Callable

from ..errors import DeviceError, InferstreamError
from ..tasks.base import Row
from .batching import Entry
from .cache.disk import DiskCache
from .flights import Flight

MAX_FLIGHTS_PER_CALL = 64
"""Texts of one call to the tokenizer: enough to amortize the call, few enough that the device is fed early."""

ROW_SPACING_S = 0.02
"""The rows of a long text count as arriving so far apart: a text of a thousand rows lets others in between."""


class Preparer:
    """Takes flights off the event loop and puts their rows before the device. One thread, in order of arrival."""

    def __init__(
        self,
        route: Callable[[Flight], Callable[[list[Entry]], None]],
        disk: DiskCache | None,
        clock: Callable[[], float],
    ) -> None:
        """``route`` gives the waiting room of the device that a flight runs on."""
        self._route, self._disk, self._clock = route, disk, clock
        # Unbounded by itself; holds at most the requests that the worker's window has admitted.
        self._queue: queue.SimpleQueue[Flight | None] = queue.SimpleQueue()
        self._at_hand = 0
        self._thread = threading.Thread(target=self._loop, name="prepare", daemon=True)
        self._land: Callable[[list[Flight]], None]
        self._failed: Callable[[BaseException], None]

    def start(self, land: Callable[[list[Flight]], None], failed: Callable[[BaseException], None]) -> None:
        """Start the thread. ``land`` and ``failed`` are called from it."""
        self._land, self._failed = land, failed
        self._thread.start()

    def put(self, flight: Flight) -> None:
        self._queue.put(flight)

    def __len__(self) -> int:
        """Flights on their way to a device that it cannot know of yet."""
        return self._queue.qsize() + self._at_hand

    def stop(self) -> None:
        """Prepare what is queued and end."""
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        try:
            while flights := self._take():
                self._at_hand = len(flights)
                self._prepare(flights)
                self._at_hand = 0
        except BaseException as error:  # a thread that dies silently would leave its requests open for ever
            self._failed(error)

    def _take(self) -> list[Flight]:
        """What is queued, at least one flight; empty at the end."""
        flights: list[Flight] = []
        flight = self._queue.get()
        while flight is not None:
            flights.append(flight)
            if len(flights) == MAX_FLIGHTS_PER_CALL or self._queue.empty():
                return flights
            flight = self._queue.get()
        if flights:
            self._queue.put(None)
        return flights

    def _prepare(self, flights: list[Flight]) -> None:
        if self._disk is not None:
            flights = self._look_up(self._disk, flights)
        by_task: dict[int, list[Flight]] = {}
        for flight in flights:
            by_task.setdefault(id(flight.task), []).append(flight)
        for group in by_task.values():
            self._tokenize(group)

    def _look_up(self, disk: DiskCache, flights: list[Flight]) -> list[Flight]:
        """Land what the disk knows; the rest must run."""
        found = []
        for flight in flights:
            stored = disk.get(flight.key)
            if stored is not None:
                flight.result, flight.from_disk = stored, True
                flight.prepared = flight.ran = flight.landed = self._clock()
                found.append(flight)
        if found:
            self._land(found)
        return [flight for flight in flights if not flight.from_disk]

    def _tokenize(self, flights: list[Flight]) -> None:
        try:
            prepared = flights[0].task.prepare([flight.text for flight in flights])
        except BaseException as error:  # a library's panic is no Exception, and one text's fault all the same
            self._isolate(flights, error)
            return
        now = self._clock()
        for flight, rows in zip(flights, prepared, strict=True):
            flight.board([_entry(row, number, flight) for number, row in enumerate(rows)], now)
            self._route(flight)(flight.entries)

    def _isolate(self, flights: list[Flight], error: BaseException) -> None:
        """One text broke the call: try each alone, so that only the one at fault fails."""
        if len(flights) > 1:
            for flight in flights:
                self._tokenize([flight])
            return
        if not isinstance(error, InferstreamError):
            error = DeviceError(f"The text could not be tokenized: {error!r}.")
        flights[0].result = error
        self._land(flights)


def _entry(row: Row, number: int, flight: Flight) -> Entry:
    entry = Entry(
        row,
        arrived=flight.started + number * ROW_SPACING_S,
        expires=flight.expires,
        priority=flight.priority,
        owner=flight,
    )
    entry.alone = flight.suspect
    return entry
