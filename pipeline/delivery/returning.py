"""Brings records back from the retry topics to the request topic when they are due."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ...schemas.topics import Header
from ..broker.base import Message, Record
from .retries import due_headers
from .window import Outcome


class Returning:
    """Handles the records of retry topics: each waits here, blocking nobody, and goes back to ``requests``.

    A worker of its own runs it, so its offsets, too, are committed only after the record is durable again.
    """

    def __init__(self, requests: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._requests, self._wall_clock = requests, wall_clock

    def handle(self, record: Record) -> Outcome | Coroutine[Any, Any, Outcome]:
        wait_s = self._due_s(record) - self._wall_clock()
        back = Message(self._requests, record.value or b"", record.key, due_headers(record), record.partition)
        outcome = Outcome((back,))
        return outcome if wait_s <= 0 else _later(wait_s, outcome)

    def _due_s(self, record: Record) -> float:
        """Unix time at which the record is due: at once where the header is missing or not a number."""
        value = dict(record.headers).get(Header.NOT_BEFORE_MS, b"")
        return int(value) / 1e3 if value.isdigit() and len(value) < 16 else 0.0


async def _later(seconds: float, outcome: Outcome) -> Outcome:
    await asyncio.sleep(seconds)
    return outcome
