"""Brings records back from the retry topics to the request topic when they are due."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ...schemas.topics import Header, Topics
from ..broker.base import Message, Record
from ..errors import TooLarge
from .arrival import header_map
from .dead_letters import batch_letter, dead_letter
from .outcome import Outcome
from .retries import JITTER, due_headers
from .routing import MemberRoute
from .slots import Slot


class RetryReturner:
    """Handles the records of one retry topic: when due, each returns to the request topic.

    A worker of its own runs it (docs/decisions/0007): its offsets, too, are committed only after the
    record is durable again.
    """

    def __init__(
        self,
        topics: Topics,
        delay_s: float,
        wall_clock: Callable[[], float] = time.time,
        route: MemberRoute | None = None,
    ) -> None:
        """No record waits longer than ``delay_s`` plus jitter, whatever its header holds.

        ``route`` chooses the partition to which a record returns; without it, the key does.
        """
        self._topics = topics
        self._max_wait_s = delay_s * (1 + JITTER)
        self._wall_clock = wall_clock
        self._route = route

    def handle(self, record: Record, slot: Slot | None = None) -> Outcome | Coroutine[Any, Any, Outcome]:
        """The record for the request topic: at once if it is due, else an awaitable of it."""
        if record.unread is not None:
            return batch_letter(record, record.unread, self._topics.dead_letters, self._wall_clock())
        wait_s = min(_due_s(record) - self._wall_clock(), self._max_wait_s)
        return self._back(record) if wait_s <= 0 else self._later(wait_s, record)

    async def _later(self, seconds: float, record: Record) -> Outcome:
        await asyncio.sleep(seconds)
        return self._back(record)

    def _back(self, record: Record) -> Outcome:
        """The record for the request topic. The members are those of now, not of when it began to wait."""
        value = record.value or b""
        partition = self._route.partition(record) if self._route else None
        back = Message(self._topics.requests, value, record.key, due_headers(record), partition)
        return Outcome((back,), lambda: self._refused(record))

    def _refused(self, record: Record) -> Outcome:
        error = TooLarge(
            "The request topic takes no record of this size any more: raise its max.message.bytes and start the "
            "workers again."
        )
        return dead_letter(record, self._topics.dead_letters, error, self._wall_clock())


def _due_s(record: Record) -> float:
    """Unix seconds at which the record is due; 0 where the header is missing or not a number."""
    value = header_map(record).get(Header.NOT_BEFORE_MS, b"")
    return int(value) / 1e3 if value.isdigit() and len(value) < 16 else 0.0
