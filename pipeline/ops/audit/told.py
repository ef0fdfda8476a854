"""The chunks of one request: whether any is missing or out of order, and whether its end came behind them."""

from msgspec import Struct


class Told(Struct):
    """Chunks and ends of one request in one partition of a reply topic, added in their order.

    A worker numbers the chunks of a delivery from 0 and publishes them in order. However many workers repeat
    the request, and even if one of them publishes late: the first chunk with a number comes behind the first
    one with the number before it.

    Attributes:
        is_torn: a number came before the one before it.
        open_ms: when the last chunk came, if no end is behind it; else -1.
    """

    is_torn: bool = False
    open_ms: int = -1
    _next: int = 0

    def chunk(self, seq: int, timestamp_ms: int) -> None:
        """A chunk with this number, of this time in Unix ms."""
        self.is_torn = self.is_torn or seq > self._next
        self._next = max(self._next, seq + 1)
        self.open_ms = timestamp_ms

    def end(self) -> None:
        """A Result or a Failure."""
        self.open_ms = -1
