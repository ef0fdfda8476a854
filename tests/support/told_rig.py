"""Parts of one answer that are told without a window, over a flight that a test fills."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from inferstream.pipeline.broker.base import Message, Record
from inferstream.pipeline.delivery.chunks import AnswerPart, Chunks
from inferstream.pipeline.delivery.part_pace import PartPace
from inferstream.pipeline.delivery.slots import PartitionQueue, Slot
from inferstream.pipeline.engine.flight import Flight
from inferstream.pipeline.lab.steps import Steps
from inferstream.schemas.topics import Topics

TOPICS = Topics("steps")


@dataclass
class FakeFlight:
    """What `Chunks` sees of a flight."""

    task: Any = field(default_factory=Steps)
    pieces: list[Any] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    not_calling: int = 0
    paused_by: set[object] = field(default_factory=set)

    def pause(self, request: object, *, resumes: bool) -> None:
        self.paused_by.add(request)

    def go_on(self, request: object) -> None:
        self.paused_by.discard(request)

    def bring(self, *pieces: Any) -> None:
        self.pieces.extend(pieces)
        for watcher in list(self.watchers):
            watcher()


class Told:
    """Parts that a slot without a window was given, and pulls at once."""

    def __init__(self, most_bytes: int = 1_000_000, pace: PartPace | None = None) -> None:
        """Without ``pace`` nothing is gathered."""
        self.parts: list[AnswerPart] = []
        self._most_bytes = most_bytes
        record = Record(TOPICS.requests, 0, 0, None, b"{}", (), 0)
        self.slot = PartitionQueue(self._pull).append(record)
        self.chunks = Chunks(self.slot, self._message, pace=pace or PartPace(0.0))

    def follow(self, flight: FakeFlight) -> None:
        self.chunks.follow(cast(Flight, flight))

    @property
    def pieces(self) -> list[Any]:
        """All pieces, after a look at their positions."""
        pieces: list[Any] = []
        for number, part in enumerate(self.parts):
            assert (part.seq, part.start) == (number, len(pieces))
            pieces += json.loads(part.output)
        return pieces

    def _pull(self, slot: Slot) -> None:
        while slot.chunks is not None and slot.chunks() is not None:
            pass

    def _message(self, part: AnswerPart) -> Message | None:
        if len(part.output) > self._most_bytes:
            return None
        self.parts.append(part)
        return Message("replies", part.output)
