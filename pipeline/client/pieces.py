"""The pieces of one answer, joined by their positions."""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

MAX_UNREAD_BYTES: Final = 1_000_000
"""As much as an answer may have in the default settings of a worker."""

CHUNK_OVERHEAD: Final = 500
"""Bytes that a chunk takes in memory beside its pieces."""


class Pieces:
    """Joins chunks to the pieces that a program reads: each position once, in order.

    What has a position that is known already is skipped, and so is a chunk behind a gap, or one for which
    there is no room while the program does not read: the whole answer at the end has all that is left.

    Attributes:
        is_torn: something came that differs from the piece that was known in its place. No more is added then.
    """

    def __init__(self) -> None:
        self._end = 0  # the position behind the pieces that are known
        self._unread: deque[tuple[Sequence[Any], int]] = deque()  # pieces that join, and their bytes
        self._unread_bytes = 0
        self._next = 0  # of the first of them
        self._digests = array("q")  # of the pieces that are known
        self.is_torn = False

    def add(self, start: int, pieces: Sequence[Any], size: int) -> bool:
        """Pieces of a chunk, the first of which has the position ``start``. Returns whether any is new.

        ``size`` is in bytes, as received.
        """
        known = self._end - start
        if self.is_torn or start < 0 or known < 0:
            return False
        if known and self._differs(start, pieces[:known]):
            return False
        if known >= len(pieces):
            return False
        size += CHUNK_OVERHEAD
        if self._unread_bytes + size > MAX_UNREAD_BYTES:
            return False
        self._append(pieces[known:], size)
        return True

    def finish(self, pieces: Sequence[Any]) -> bool:
        """All pieces of the answer: those that no chunk has brought can be read now.

        False if they begin otherwise than the chunks: then nothing is added.
        """
        if self.is_torn or len(pieces) < self._end or self._differs(0, pieces[: self._end]):
            return False
        if len(pieces) > self._end:
            self._append(pieces[self._end :], 0)
        return True

    def __bool__(self) -> bool:
        """Whether there is a piece to read."""
        return bool(self._unread)

    def take(self) -> Any:
        """The next piece, if there is one."""
        pieces, size = self._unread[0]
        piece = pieces[self._next]
        self._next += 1
        if self._next == len(pieces):
            self._unread.popleft()
            self._unread_bytes -= size
            self._next = 0
        return piece

    def _append(self, pieces: Sequence[Any], size: int) -> None:
        self._unread.append((pieces, size))
        self._unread_bytes += size
        self._end += len(pieces)
        self._digests.extend(_digests(pieces))

    def _differs(self, start: int, pieces: Sequence[Any]) -> bool:
        """Whether these pieces are others than those that are known from there on."""
        known = self._digests[start : start + len(pieces)]
        self.is_torn = known != array("q", _digests(pieces))
        return self.is_torn


def _digests(pieces: Sequence[Any]) -> Iterable[int]:
    return (hash(msgspec.json.encode(piece)) for piece in pieces)
