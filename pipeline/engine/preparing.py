"""The thread that prepares requests for a device: disk cache lookup and tokenizing, in groups."""

import queue
import threading
from collections.abc import Callable

from ..errors import DeviceError, InferstreamError
from .batching import Entry
from .cache.disk import DiskCache
from .flights import Flight, by_task

MAX_FLIGHTS_PER_CALL = 64
"""Enough to amortize the tokenizer call, few enough to feed the device early."""

ROW_SPACING_S = 0.02
"""Spacing of the arrival times given to the rows of one text: other requests run in between."""


class Preparer:
    """Takes flights off the event loop and puts their rows into their batcher. One thread, in
    order.
    """

    def __init__(self, disk: DiskCache | None, clock: Callable[[], float]) -> None:
        self._disk = disk
        self._clock = clock
        # Unbounded by itself; holds at most the requests that the worker's window has admitted.
        self._queue: queue.SimpleQueue[Flight | None] = queue.SimpleQueue()
        self._in_progress = 0  # written by the thread, read by the event loop
        self._thread = threading.Thread(target=self._loop, name="prepare", daemon=True)
        self._land: Callable[[list[Flight]], None]
        self._fail: Callable[[BaseException], None]

    def start(self, land: Callable[[list[Flight]], None], fail: Callable[[BaseException], None]) -> None:
        """Start the thread. ``land`` and ``fail`` are called from it."""
        self._land = land
        self._fail = fail
        self._thread.start()

    def put(self, flight: Flight) -> None:
        self._queue.put(flight)

    def __len__(self) -> int:
        """Flights that have not reached their batcher."""
        return self._queue.qsize() + self._in_progress

    def stop(self) -> None:
        """Prepare the queued flights and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        try:
            while flights := self._take():
                self._in_progress = len(flights)
                self._prepare(flights)
                self._in_progress = 0
        except BaseException as error:  # a thread that ends silently would leave its requests open forever
            self._fail(error)

    def _take(self) -> list[Flight]:
        """Block for a flight and take up to `MAX_FLIGHTS_PER_CALL`; empty once stopped."""
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
        for group in by_task(flights):
            self._tokenize(group)

    def _look_up(self, disk: DiskCache, flights: list[Flight]) -> list[Flight]:
        """Land the flights whose answer is on disk; returns the others."""
        found: list[Flight] = []
        missing: list[Flight] = []
        for flight in flights:
            flight.result = disk.get(flight.key)
            (missing if flight.result is None else found).append(flight)
        if found:
            self._land(found)
        return missing

    def _tokenize(self, flights: list[Flight]) -> None:
        try:
            prepared = flights[0].task.prepare([flight.text for flight in flights])
        except (
            BaseException
        ) as error:  # a panic in the tokenizer is no Exception, but one text caused it as well
            self._isolate(flights, error)
            return
        now = self._clock()
        for flight, rows in zip(flights, prepared, strict=True):
            entries = [
                Entry(row, flight, arrived=flight.started_at + number * ROW_SPACING_S)
                for number, row in enumerate(rows)
            ]
            flight.board(entries, now)
            flight.batcher.put(entries)

    def _isolate(self, flights: list[Flight], error: BaseException) -> None:
        """Tokenize each text alone after a failed call, so that only the text at fault fails."""
        if len(flights) > 1:
            for flight in flights:
                self._tokenize([flight])
            return
        if not isinstance(error, InferstreamError):
            error = DeviceError(f"The text could not be tokenized: {error!r}.")
        flights[0].fail(error)
        self._land(flights)
