"""Replies linger: under load what is ready waits a moment for more, so that they are published together."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

BUSY: Final = 128
"""Requests running from which on replies linger."""

LINGER_S: Final = 0.05

T = TypeVar("T")


class Linger(Generic[T]):
    """Passes things on in the order in which they come. Lives on the event loop.

    Requests to the broker cost more than what is in them: together many replies cost little more than one, and what
    waited for many others does not notice.
    """

    def __init__(self, send: Callable[[T], None]) -> None:
        self._send = send
        self._ready: list[T] = []

    def put(self, thing: T, running: int) -> None:
        """Pass it on now, or within `LINGER_S` where so many requests are running that more will be ready by then."""
        if running < BUSY and not self._ready:
            self._send(thing)
            return
        if not self._ready:
            asyncio.get_running_loop().call_later(LINGER_S, self._send_all)
        self._ready.append(thing)

    def _send_all(self) -> None:
        ready, self._ready = self._ready, []
        for thing in ready:
            self._send(thing)
