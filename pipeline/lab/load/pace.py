"""Sends planned requests at a pace, whatever becomes of them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from ....schemas.topics import Topics
from ...broker.base import Broker
from .requests import Planned

MAX_UNACKNOWLEDGED: Final = 5_000
LOOK_S: Final = 0.002
MAX_BEHIND_S: Final = 1.0
"""What could not be sent for longer than this is not made up for."""


class Pace(Protocol):
    """Says when the next request is due."""

    async def due(self) -> None:
        """Return when one more request is to be sent."""
        ...


class Steady:
    """So many requests a second, whatever the answers do."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s, self._clock = 1 / per_s, clock
        self._next = clock()

    async def due(self) -> None:
        now = self._clock()
        self._next = max(self._next + self._interval_s, now - MAX_BEHIND_S)
        if self._next > now:
            await asyncio.sleep(self._next - now)


class Saturating:
    """As many requests as are answered: ``max_open`` are under way at all times."""

    def __init__(self, max_open: int, open_requests: Callable[[], int]) -> None:
        self._most_open, self._open_requests = max_open, open_requests

    async def due(self) -> None:
        while True:
            if self._open_requests() < self._most_open:
                return
            await asyncio.sleep(LOOK_S)


class Bursts:
    """``size`` requests at once, again and again."""

    def __init__(self, size: int, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._every_s, self._clock = size, every_s, clock
        self._next, self._sent = clock(), 0

    async def due(self) -> None:
        if self._sent % self._size == 0:
            await asyncio.sleep(max(0.0, self._next - self._clock()))
            self._next += self._every_s
        self._sent += 1


class Loadgen:
    """Sends requests to one task's topic, telling ``sent`` of each before it leaves."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        sent: Callable[[Planned], None],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._broker, self._topics, self._sent, self._wall_clock = broker, topics, sent, wall_clock
        self._unacknowledged: set[asyncio.Future[None]] = set()
        self._error: BaseException | None = None

    @property
    def unacknowledged(self) -> int:
        """Requests that the broker has not got for certain."""
        return len(self._unacknowledged)

    async def send(self, plan: Iterator[Planned], pace: Pace, over: Callable[[], bool]) -> None:
        """Send from ``plan`` until it is ``over``. Raises BrokerError."""
        while True:
            await pace.due()
            if over():
                return
            if self.unacknowledged >= MAX_UNACKNOWLEDGED:
                await asyncio.sleep(LOOK_S)
                continue
            if self._error:
                raise self._error
            self._publish(next(plan))
            await asyncio.sleep(0)

    async def flush(self, timeout_s: float) -> None:
        """Wait until the broker has all. Raises TimeoutError, or BrokerError for what it refused."""
        async with asyncio.timeout(timeout_s):
            while self._unacknowledged:
                await asyncio.wait(self._unacknowledged)
        if self._error:
            raise self._error

    def _publish(self, planned: Planned) -> None:
        self._sent(planned)
        future = self._broker.publish(planned.message(self._topics, self._wall_clock()))
        self._unacknowledged.add(future)
        future.add_done_callback(self._acknowledged)

    def _acknowledged(self, future: asyncio.Future[None]) -> None:
        self._unacknowledged.discard(future)
        if not future.cancelled() and (error := future.exception()):
            self._error = error
