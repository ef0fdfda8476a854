"""Streams that were left by their callers, and when each has ended."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from ....schemas.messages import Failure, Result


class LeftStream(Struct, frozen=True):
    """A stream that its client has left: ``how`` (leaves, cancels, killed), ``at_s`` after the start.

    It ended ``ended_after_s`` later with ``code``, as the reply topic shows it.
    """

    how: str
    at_s: float
    ended_after_s: float
    code: str


class LeftCounts(Protocol):
    """Where they are counted: those that have ended, and how many have not."""

    left: list[LeftStream]
    open: int


class LeftStreams:
    """Pairs the streams that were left with their first ends.

    The caller and the run read the topic each for itself: the run may have read the end of a stream before its
    caller leaves it.
    """

    def __init__(self, now_s: Callable[[], float], counts: LeftCounts) -> None:
        self._now_s = now_s
        self._counts = counts
        self._open: dict[str, tuple[str, float]] = {}
        self._codes: dict[str, str] = {}

    def left(self, identity: str, how: str) -> None:
        """Its caller leaves it now."""
        now = self._now_s()
        if (code := self._codes.get(identity)) is not None:
            self._counts.left.append(LeftStream(how, now, 0.0, code))
        else:
            self._open[identity] = (how, now)
            self._counts.open += 1

    def ended(self, reply: Result | Failure) -> None:
        """An end was read, which may be a repetition."""
        code = self._codes.setdefault(reply.id, reply.code if isinstance(reply, Failure) else "result")
        if (left := self._open.pop(reply.id, None)) is not None:
            how, at_s = left
            self._counts.left.append(LeftStream(how, at_s, self._now_s() - at_s, code))
            self._counts.open -= 1
