"""The segments of a stream that are not read to their end: captions come out in the order of the segments."""

from collections import deque
from typing import Final

from .caption import Caption
from .segment import Segment

MAX_UNREAD: Final = 1_000
MAX_UNREAD_CHARACTERS: Final = 1_000_000


class OpenSegments:
    """Bounded by its user, who asks `is_full` before a segment begins."""

    def __init__(self) -> None:
        self._segments: deque[Segment] = deque()
        self._characters = 0  # of finals that were not read

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def is_full(self) -> bool:
        """Whether too much was not read."""
        return len(self._segments) >= MAX_UNREAD or self._characters >= MAX_UNREAD_CHARACTERS

    def begin(self, segment: Segment) -> None:
        self._segments.append(segment)

    def done(self, caption: Caption) -> None:
        """A final is known: it stays until it is read."""
        self._characters += len(caption.text)

    def take(self) -> Caption | None:
        """The next caption, if there is one: the newest of the first segment whose final was not read."""
        if not self._segments or (caption := self._segments[0].caption) is None:
            return None
        self._segments[0].caption = None
        if caption.final:
            self._segments.popleft()
            self._characters -= len(caption.text)
        return caption

    def release(self, now: float) -> None:
        """Show what was held back for too long."""
        for segment in self._segments:
            segment.release(now)

    @property
    def release_at(self) -> float | None:
        """When to call `release` next."""
        return min((at for one in self._segments if (at := one.release_at) is not None), default=None)
