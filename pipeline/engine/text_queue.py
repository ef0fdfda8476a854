"""Texts that wait to be tokenized: tenants take turns."""

import threading
from collections import deque
from typing import Final

from .flight import Flight

MAX_FLIGHTS_PER_CALL: Final = 64
"""Enough to amortize the tokenizer call, few enough to feed the device early."""

MAX_CHARACTERS_PER_CALL: Final = 32_768
"""Bounds the memory of a call: the tokenizer needs up to 430 bytes for each character."""


class TextQueue:
    """Any thread puts flights in, one thread takes them out in groups, one of each tenant in turn.

    Unbounded by itself: it holds at most the requests that the worker's window has admitted. Those
    of one tenant may be many, and tokenizing one may take 8 ms for 1 000 characters.
    """

    def __init__(self) -> None:
        self._tenants: dict[str, deque[Flight]] = {}
        """The tenant whose turn is next is the first one."""
        self._changed = threading.Condition()
        self._closed = False

    def put(self, flight: Flight) -> None:
        with self._changed:
            self._tenants.setdefault(flight.tenant, deque()).append(flight)
            self._changed.notify()

    def take(self) -> list[Flight]:
        """Block for a flight and take what one call may hold; empty once the queue is closed and empty."""
        flights: list[Flight] = []
        characters = 0
        with self._changed:
            self._changed.wait_for(lambda: self._tenants or self._closed)
            while (
                self._tenants and len(flights) < MAX_FLIGHTS_PER_CALL and characters < MAX_CHARACTERS_PER_CALL
            ):
                flights.append(self._next())
                characters += flights[-1].size
        return flights

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _next(self) -> Flight:
        tenant = next(iter(self._tenants))
        waiting = self._tenants.pop(tenant)
        flight = waiting.popleft()
        if waiting:
            self._tenants[tenant] = waiting  # behind all others
        return flight
