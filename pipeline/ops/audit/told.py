"""The chunks of one request: whether any is missing or out of order, and whether its end came behind them."""

from msgspec import Struct

DIGITS = 8
"""Of the digest of a piece, see `facts`."""


class Told(Struct):
    """Chunks, marks and ends of one request in one partition of a reply topic, added in their order.

    A worker numbers the chunks of an answer from 0 and publishes them in order. However many workers repeat
    the request, and even if one of them publishes late: the first chunk with a number comes behind the first
    one with the number before it.

    Chunks with an epoch are joined as a client joins them: what has a lower epoch than something before it does
    not count.

    Attributes:
        is_torn: a number came before the one before it, a piece is missing or differs from what was told in its place.
        is_resumed: a worker went on with what one with a lower epoch had told.
        open_ms: when the last chunk came, if no end is behind it; else -1.
        outdated: chunks that do not count.
        repeated: pieces that were told again.
    """

    is_torn: bool = False
    is_resumed: bool = False
    open_ms: int = -1
    outdated: int = 0
    repeated: int = 0
    _next: int = 0
    _epoch: int = -1
    _pieces: str = ""  # their digests, one behind the other

    def chunk(self, seq: int, timestamp_ms: int, code: str = "") -> bool:
        """A chunk, or a mark, with this number, of this time in Unix ms; ``code``: see `facts`.

        Returns whether it is a chunk that counts.
        """
        is_mark = code.endswith(" ")
        if code and not self._join(code):
            self.outdated += not is_mark
            return False
        self.is_torn = self.is_torn or (seq > self._next and not is_mark)
        self._next = max(self._next, seq + 1)
        if not is_mark:
            self.open_ms = timestamp_ms
        return not is_mark

    def end(self) -> None:
        """A Result or a Failure. A repetition begins anew."""
        self.open_ms = -1
        self._pieces = ""

    def _join(self, code: str) -> bool:
        epoch, start, pieces = code.split(" ")
        if int(epoch) < self._epoch:
            return False
        self.is_resumed = self.is_resumed or (bool(self._pieces) and int(epoch) > self._epoch)
        self._epoch = int(epoch)
        begin = int(start) * DIGITS
        if not pieces:
            return True
        again = pieces[: max(0, len(self._pieces) - begin)]
        self.repeated += len(again) // DIGITS
        changed = self._pieces[begin : begin + len(again)] != again
        self.is_torn = self.is_torn or changed or begin > len(self._pieces)
        self._pieces += pieces[len(again) :]
        return True
