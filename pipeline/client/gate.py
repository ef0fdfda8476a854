"""Lets a test decide when answers come."""

import asyncio
from collections import deque


class AnswerGate:
    """Open until `hold`. Lives on one event loop."""

    def __init__(self) -> None:
        self._held = False
        self._permits = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counted = 0
        self._expected: list[tuple[int, asyncio.Future[None]]] = []

    def hold(self) -> None:
        """Hold all answers from now on."""
        self._held = True
        self._permits = 0

    def release(self, count: int | None) -> None:
        """Let ``count`` answers pass, the oldest first, also those to come; None: all."""
        if count is None:
            self._held = False
        while self._waiting and count != 0:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                count = None if count is None else count - 1
        self._permits += count or 0

    async def passed(self) -> None:
        """Wait until this answer may pass."""
        if self._held and self._permits:
            self._permits -= 1
        elif self._held:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def arrived(self, count: int) -> None:
        """So many requests have arrived."""
        self._counted = count
        for expected, future in self._expected:
            if count >= expected and not future.done():
                future.set_result(None)

    async def wait_for(self, count: int) -> None:
        """Wait until that many requests have arrived."""
        if self._counted < count:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._expected.append((count, future))
            await future
