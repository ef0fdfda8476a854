"""The parts in which one answer is told while it is being made."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from ..broker.base import Message
from ..engine.flight import Flight
from .part_pace import PartPace
from .slots import Slot
from .unread import UnreadPieces

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 16_384
"""Bytes of pieces in one chunk, unless one piece alone has more: 1 024 requests in flight hold 16 MB of them."""

PIECE_BYTES: Final = 65_536
"""After a larger piece the answer comes whole: 1 024 of the worst kind in flight then hold 64 MB."""


class AnswerPart(NamedTuple):
    """Some pieces of an answer: ``output`` is the JSON of a list of them, ``start`` the position of the first."""

    seq: int
    start: int
    output: bytes
    model: str
    version: str


class Chunks:
    """Tells the pieces of one request's answer, each once. Lives on the event loop.

    The position is kept when the request is tried again: the pieces that its next flight brings are
    told from there on. While the reader lags, nothing more is told, and nothing more is made for it.
    """

    def __init__(
        self,
        slot: Slot,
        message: Callable[[AnswerPart], Message | None],
        position: int = 0,
        seq: int = 0,
        pace: PartPace | None = None,
    ) -> None:
        """``message`` makes a reply of a part; None if it is too large for one: then no more is told.

        ``position`` and ``seq``: how much another worker has told. ``pace``: how far apart parts are.
        """
        self.position = position
        """Pieces that were told."""
        self.seq = seq
        """Parts that were told: the number of the next one, or of the terminal event."""
        self.unread = UnreadPieces()
        self._paused = False
        self._read_on = asyncio.Event()
        self._slot = slot
        self._message = message
        self._flight: Flight | None = None
        self._last: int | None = None  # pieces that are told at most, once it is handed over
        self._most = 16  # pieces of the next part: as many as fit, by the last ones
        self._pace = pace or PartPace()
        slot.chunks = self._next
        slot.lift = self._lift

    def follow(self, flight: Flight) -> None:
        """Tell the pieces of this flight: those it has, and those that come."""
        self._leave()
        self._flight = flight
        flight.watchers.append(self._slot.say)
        if self._paused:
            flight.pause(self, resumes=self._slot.resumes)
        self._slot.say()

    def was_read(self, pieces: int, now: float) -> float:
        """The client has read ``pieces``. Returns for how many seconds it is paused without reading more."""
        self.unread.was_read(pieces, now)
        self._check_pause()
        return self.unread.idle_s(now)

    async def until_read(self) -> None:
        """Return when the reader does not lag any more."""
        while self._paused:
            self._read_on.clear()
            await self._read_on.wait()

    def _lift(self) -> None:
        """Wait for the reader no longer."""
        self.unread.lift()
        self._check_pause()

    def _check_pause(self) -> None:
        paused = self.unread.is_too_much
        if paused == self._paused:
            return
        self._paused = paused
        flight = self._flight
        if paused:
            if flight is not None:
                flight.pause(self, resumes=self._slot.resumes)
            return
        self._read_on.set()
        if flight is not None:
            flight.go_on(self)
        self._slot.say()

    def end(self) -> None:
        """Tell nothing more: the terminal event comes. What is handed over is told as far as it is known now."""
        flight = self._flight
        self._leave()
        if self._slot.left and flight is not None:
            self._flight = flight
            self._last = len(flight.pieces)
            self._slot.say()
        else:
            self._slot.chunks = None

    @property
    def version(self) -> str:
        """Of the model whose pieces are told; empty before there is any."""
        return "" if self._flight is None else self._flight.task.version

    def told(self) -> bytes | None:
        """The JSON of all pieces that were told, those of other workers too; None if the task does not say."""
        flight = self._flight
        return None if flight is None else flight.task.tell(flight.pieces[: self.position], 0)

    def _leave(self) -> None:
        self._pace.stop()
        if self._flight is not None:
            if self._last is None:
                self._flight.watchers.remove(self._slot.say)
                self._flight.go_on(self)
            self._flight = None

    def _next(self) -> Message | None:
        flight = self._flight
        if flight is None or self._paused or len(flight.pieces) <= self.position:
            return None
        if self._last is None:
            if self._pace.waits(flight, self._slot.say):
                return None
        elif self._last <= self.position:
            return None
        try:
            message = self._part(flight)
        except Exception:
            log.exception("A defect in the task %s: its answer comes whole, without parts.", flight.task.name)
            message = None
            self._slot.chunks = None
        return message

    def _part(self, flight: Flight) -> Message | None:
        """The next part: about `CHUNK_BYTES` of the pieces that were not told yet."""
        start = self.position
        # A copy, which costs 9 µs for 8 000 pieces: a lane may add one between any two lines here.
        known = flight.pieces[: start + self._most]
        task = flight.task
        count = len(known) - start
        output = task.tell(known, start)
        while output is not None and len(output) > CHUNK_BYTES and count > 1:
            count = self._most = count // 2
            output = task.tell(known[: start + count], start)
        if output is None:
            return None
        self._most = max(self._most, count * 2)
        message = None
        if len(output) <= PIECE_BYTES:
            message = self._message(AnswerPart(self.seq, start, output, task.model, task.version))
        if message is None:
            self._slot.chunks = None
            return None
        self.position = start + count
        self.seq += 1
        if self.position == len(flight.pieces):
            self._pace.told()
        self.unread.told(self.position, len(output))
        self._check_pause()
        return message
