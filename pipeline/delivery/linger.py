"""Under load replies linger up to 100 ms and are published together (docs/decisions/0008)."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

LINGER_S: Final = 0.1

BUSY_DELAY_S: Final = 0.4
"""Linger only when the device lets all requests wait for longer than this: `LINGER_S` more is then negligible."""

Busy = Callable[[], bool]
"""Whether the device lets all requests wait for longer than `BUSY_DELAY_S`."""

T = TypeVar("T")


def idle() -> bool:
    """`Busy` of a worker without a device."""
    return False


class Linger(Generic[T]):
    """Forwards items in order; under load it groups them. Lives on the event loop.

    A request to the broker costs more than the records in it: many replies together cost little
    more than one.
    """

    def __init__(self, send: Callable[[T], None], busy: Busy) -> None:
        self._send = send
        self._busy = busy
        self._ready: list[T] = []

    def put(self, item: T) -> None:
        """Send the item now; while the device is busy within `LINGER_S`, with later ones."""
        if not self._ready:
            if not self._busy():
                self._send(item)
                return
            asyncio.get_running_loop().call_later(LINGER_S, self._send_all)
        self._ready.append(item)

    def _send_all(self) -> None:
        ready, self._ready = self._ready, []
        for item in ready:
            self._send(item)
