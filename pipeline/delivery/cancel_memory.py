"""The cancels that a worker has read: bounded in bytes, the oldest are forgotten."""

from typing import Final, NamedTuple

MAX_CANCEL_BYTES: Final = 16_000_000
"""About 35 000 cancels: of one minute at 500 a second, and more than retries take (docs/cancel.md)."""

ENTRY_BYTES: Final = 220
CANCEL_BYTES: Final = 130
"""What a request and its cancel take beside their text: with an id of 10 characters 316 bytes in all, measured
with CPython 3.11, and 404 with a trace; counted are 390 and 445."""

MAX_OF_ONE: Final = 4
"""Cancels of one request that are kept: an id that is sent again may be cancelled again."""

CLOCKS_MS: Final = 1_000
"""How much the clocks of two brokers may differ: a cancel also ends requests that are this much newer."""


class RequestName(NamedTuple):
    """By what a cancel names a request: another tenant's cancel has no effect."""

    tenant: str
    id: str


class KnownCancel(NamedTuple):
    """One cancel. With ``trace``, it ends only the request that has the same header `traceparent`."""

    timestamp_ms: int
    reason: str
    trace: bytes | None

    def ends(self, asked_ms: int, trace: bytes | None) -> bool:
        """Whether it ends a request that was sent at ``asked_ms``: an id may be used again later."""
        return asked_ms <= self.timestamp_ms + CLOCKS_MS and self.trace in (None, trace)


class CancelMemory:
    """Cancels by request, in the order in which they were sent."""

    def __init__(self, max_bytes: int = MAX_CANCEL_BYTES) -> None:
        self.known: dict[RequestName, tuple[KnownCancel, ...]] = {}
        """Always the same dict: a request costs one look at it while it is empty."""
        self.bytes = 0
        self.forgotten = 0
        """Cancels that were dropped since there was no room."""
        self.max_bytes = max_bytes

    def add(self, name: RequestName, cancel: KnownCancel) -> None:
        """Remember the cancel as the newest one, and forget the oldest if there is no room."""
        cancels = self._take(name)
        self._put(name, (*cancels, cancel)[-MAX_OF_ONE:])
        while self.bytes > self.max_bytes:
            oldest = next(iter(self.known))
            self.forgotten += len(self._take(oldest))

    def find(self, name: RequestName, asked_ms: int, trace: bytes | None) -> KnownCancel | None:
        """The newest cancel that ends this request."""
        for cancel in reversed(self.known.get(name, ())):
            if cancel.ends(asked_ms, trace):
                return cancel
        return None

    def expire(self, before_ms: int) -> bool:
        """Drop what is older. Returns whether there was any."""
        dropped = False
        while self.known:
            oldest = next(iter(self.known))
            if self.known[oldest][-1].timestamp_ms >= before_ms:
                break
            self._take(oldest)
            dropped = True
        return dropped

    def put_before(self, older: "CancelMemory") -> None:
        """Add the cancels of an earlier time, as far as there is room for them."""
        newer = dict(self.known)
        self.known.clear()
        self.bytes = 0
        for memory in (older.known, newer):
            for name, cancels in memory.items():
                for cancel in cancels:
                    self.add(name, cancel)
        self.forgotten += older.forgotten

    def _take(self, name: RequestName) -> tuple[KnownCancel, ...]:
        cancels = self.known.pop(name, ())
        if cancels:
            self.bytes -= _size(name, cancels)
        return cancels

    def _put(self, name: RequestName, cancels: tuple[KnownCancel, ...]) -> None:
        self.known[name] = cancels
        self.bytes += _size(name, cancels)


def _size(name: RequestName, cancels: tuple[KnownCancel, ...]) -> int:
    text = 4 * (len(name.id) + len(name.tenant))  # a character takes up to 4 bytes
    return ENTRY_BYTES + text + sum(CANCEL_BYTES + len(cancel.trace or b"") for cancel in cancels)
