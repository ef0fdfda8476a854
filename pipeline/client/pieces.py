"""The pieces of one answer, joined by their positions."""

from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
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
    """

    def __init__(self) -> None:
        self._end = 0  # the position behind the pieces that are known
        self._unread: deque[tuple[Sequence[Any], int]] = deque()  # pieces that join, and their bytes
        self._unread_bytes = 0
        self._next = 0  # of the first of them
        self._digest = blake2b(digest_size=16)  # of the pieces that are known

    def add(self, start: int, pieces: Sequence[Any], size: int) -> bool:
        """Pieces of a chunk, the first of which has the position ``start``. Returns whether any is new.

        ``size`` is in bytes, as received.
        """
        known = self._end - start
        if start < 0 or known < 0 or known >= len(pieces):
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
        digest = blake2b(digest_size=16)
        _update(digest, pieces[: self._end])
        if digest.digest() != self._digest.digest():
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
        _update(self._digest, pieces)


def _update(digest: blake2b, pieces: Sequence[Any]) -> None:
    for piece in pieces:
        encoded = msgspec.json.encode(piece)
        digest.update(b"%d:%b" % (len(encoded), encoded))
