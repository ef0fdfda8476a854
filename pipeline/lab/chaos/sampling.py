"""What the run samples of itself: how many requests are open, and how late its own event loop is."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from .request_log import RequestLog

OPEN_EVERY_S: Final = 0.5
BEHIND_EVERY_S: Final = 0.02


class RunSamples:
    """Samples of a run, each with its time in seconds since the load began."""

    def __init__(self, requests: RequestLog) -> None:
        self._requests = requests
        self.open: list[tuple[float, int]] = []
        self.behind: list[tuple[float, float]] = []
        """How many seconds later than due the event loop came back to this sampler."""

    def samplers(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Take samples until they are cancelled."""
        return self.sample_open(), self.sample_behind()

    async def sample_open(self) -> None:
        while True:
            self.open.append((self._requests.now_s, self._requests.open))
            await asyncio.sleep(OPEN_EVERY_S)

    async def sample_behind(self) -> None:
        while True:
            due = self._requests.now_s + BEHIND_EVERY_S
            await asyncio.sleep(BEHIND_EVERY_S)
            self.behind.append((due, self._requests.now_s - due))
