"""Replies linger: under load what is ready waits a moment for more, so that they are published together."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

LINGER_S: Final = 0.05

UNNOTICED_S: Final = 0.2
"""Where a request waits for the device so long, it does not notice `LINGER_S` more."""

Busy = Callable[[], bool]
"""Whether requests wait for the device longer than `UNNOTICED_S`."""

T = TypeVar("T")


def idle() -> bool:
    """Where no device is waited for."""
    return False


class Linger(Generic[T]):
    """Passes things on in the order in which they come. Lives on the event loop.

    Requests to the broker cost more than what is in them: together many replies cost little more than one.
    """

    def __init__(self, send: Callable[[T], None], busy: Busy) -> None:
        self._send, self._busy = send, busy
        self._ready: list[T] = []

    def put(self, thing: T) -> None:
        """Pass it on now, or within `LINGER_S` while the device is busy: more will be ready by then."""
        if not self._ready:
            if not self._busy():
                self._send(thing)
                return
            asyncio.get_running_loop().call_later(LINGER_S, self._send_all)
        self._ready.append(thing)

    def _send_all(self) -> None:
        ready, self._ready = self._ready, []
        for thing in ready:
            self._send(thing)
