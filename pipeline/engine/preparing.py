"""The thread that prepares requests for a device: disk cache lookup and tokenizing, in groups."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import InferstreamError, too_many_tokens
from ..runtime.model import Row
from .batching import Entry
from .cache.disk import DiskCache
from .flight import Flight
from .flight_ends import TooLate
from .flights import by_task
from .made_by_tasks import checked_rows, fault
from .text_queue import TextQueue

LONG_CHARACTERS: Final = 16_384
"""Longer texts are prepared in a thread of their own: tokenizing may take 8 ms for 1 000 characters."""


class Preparer:
    """Takes flights off the event loop and puts their rows into their batcher.

    Two threads, so that short texts do not wait for a long one. In each, tenants take turns.
    """

    def __init__(self, disk: DiskCache | None, clock: Callable[[], float], max_tokens: int) -> None:
        """A text of more than ``max_tokens`` tokens fails with TooLarge."""
        self._disk = disk
        self._clock = clock
        self._max_tokens = max_tokens
        self._short = TextQueue()
        self._long = TextQueue()
        self._threads = [
            threading.Thread(target=self._loop, args=(source,), name=name, daemon=True)
            for source, name in ((self._short, "prepare"), (self._long, "prepare-long"))
        ]
        self._land: Callable[[list[Flight]], None]
        self._fail: Callable[[BaseException], None]

    def start(self, land: Callable[[list[Flight]], None], fail: Callable[[BaseException], None]) -> None:
        """Start the threads. ``land`` and ``fail`` are called from them."""
        self._land = land
        self._fail = fail
        for thread in self._threads:
            thread.start()

    def put(self, flight: Flight) -> None:
        (self._long if flight.size > LONG_CHARACTERS else self._short).put(flight)

    def stop(self) -> None:
        """Prepare the queued flights and end the threads."""
        self._short.close()
        self._long.close()
        for thread in self._threads:
            thread.join()

    def _loop(self, source: TextQueue) -> None:
        try:
            while flights := source.take():
                self._prepare(flights)
        except BaseException as error:  # a thread that ends silently would leave its requests open forever
            self._fail(error)

    def _prepare(self, flights: list[Flight]) -> None:
        flights = self._drop_late(flights)
        if self._disk is not None:
            flights = self._look_up(self._disk, flights)
        for group in by_task(flights):
            self._tokenize(group)

    def _drop_late(self, flights: list[Flight]) -> list[Flight]:
        """Land the flights without waiters, and those that are too late; returns the others."""
        now = self._clock()
        late: list[Flight] = []
        for flight in flights:
            expires = flight.expires  # read once: a request may join just now, with a later deadline
            if flight.abandoned or expires <= now:
                flight.batcher.expected.settle(flight)
                flight.fail(TooLate(expires))
                late.append(flight)
        if not late:
            return flights
        self._land(late)
        return [flight for flight in flights if flight not in late]

    def _look_up(self, disk: DiskCache, flights: list[Flight]) -> list[Flight]:
        """Land the flights whose answer is on disk; returns the others."""
        found: list[Flight] = []
        missing: list[Flight] = []
        for flight in flights:
            flight.result = disk.get(flight.key) if flight.keep else None
            (missing if flight.result is None else found).append(flight)
        for flight in found:
            flight.batcher.expected.settle(flight)
        if found:
            self._land(found)
        return missing

    def _tokenize(self, flights: list[Flight]) -> None:
        task, phases = flights[0].task, flights[0].batcher.phases
        try:
            made = task.prepare([flight.ask for flight in flights], self._max_tokens)
            prepared = checked_rows(task.name, made, len(flights), phases)
        except (
            BaseException
        ) as error:  # a panic in the tokenizer is no Exception, but one text caused it as well
            self._isolate(flights, error)
            return
        answered = []
        for flight, rows in zip(flights, prepared, strict=True):
            if isinstance(rows, bytes):
                self._answer(flight, rows)
                answered.append(flight)
            else:
                self._board(flight, rows)
        if answered:  # together: each call wakes the event loop
            self._land(answered)

    def _answer(self, flight: Flight, answer: bytes) -> None:
        """End a flight that needs no device."""
        flight.prepared_at = self._clock()
        flight.batcher.expected.answered(flight)
        flight.result = answer

    def _board(self, flight: Flight, rows: Sequence[Row]) -> None:
        if sum(row.length for row in rows) > self._max_tokens:
            self._fail_flight(flight, too_many_tokens(self._max_tokens))
            return
        for row in rows:
            row.tenant = flight.tenant
        arrivals = flight.batcher.expected.arrivals(flight, rows)
        entries = [
            Entry(row, flight, arrived=arrived, later=number > 0)
            for number, (row, arrived) in enumerate(zip(rows, arrivals, strict=True))
        ]
        flight.board(entries, self._clock())
        flight.batcher.expected.settle(flight, rows)
        flight.batcher.put(entries)

    def _isolate(self, flights: list[Flight], error: BaseException) -> None:
        """Tokenize each text alone after a failed call, so that only the text at fault fails."""
        if len(flights) > 1:
            for flight in flights:
                self._tokenize([flight])
            return
        self._fail_flight(flights[0], fault(flights[0].task.name, "could not prepare the request", error))

    def _fail_flight(self, flight: Flight, error: InferstreamError) -> None:
        flight.batcher.expected.settle(flight)
        flight.fail(error)
        self._land([flight])
