"""What was told of one answer and is not read yet."""

import math
from collections import deque
from typing import Final

MOST_PIECES: Final = 512
"""A reader that keeps up says at each 128 how far it is (`client/reading.py`), some tens of ms late: at 3 000 pieces a
second it is never this far behind. As tokens of a small model on one core they are 5 to 10 s of the device."""

MOST_BYTES: Final = 256_000
"""A client holds 1 MB of pieces that were not read."""


class UnreadPieces:
    """Counts by position what a client has read. A client that does not say so counts as one that reads all."""

    def __init__(self) -> None:
        self._read: int | None = None
        self._since = -math.inf
        self._end = 0
        self._parts: deque[tuple[int, int]] = deque()  # the end and the bytes of what was told and not read
        self._bytes = 0
        self._lifted = False

    def told(self, end: int, size: int) -> None:
        """A part was told: ``size`` bytes of pieces, up to the position ``end``."""
        self._end = end
        if self._read is not None:
            self._parts.append((end, size))
            self._bytes += size

    def was_read(self, pieces: int, now: float) -> None:
        """The client says that it has read ``pieces``. ``now`` is in clock seconds."""
        if self._read is None or pieces > self._read:
            self._read = pieces
            self._since = now
        while self._parts and self._parts[0][0] <= self._read:
            self._bytes -= self._parts.popleft()[1]

    def lift(self) -> None:
        """From now on it is told as if all were read."""
        self._lifted = True

    @property
    def is_too_much(self) -> bool:
        """Whether nothing more should be made and told."""
        if self._read is None or self._lifted:
            return False
        return self._end - self._read >= MOST_PIECES or self._bytes >= MOST_BYTES

    def idle_s(self, now: float) -> float:
        """For how long it is known that nothing was read although more was told."""
        return now - self._since if self.is_too_much else 0.0

    @property
    def pieces(self) -> int:
        """How many were told and not read."""
        return max(0, self._end - (self._read or 0))
