"""Sends planned requests at a given pace."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

from ....schemas.topics import Topics
from ...broker.base import Broker
from ...errors import NotWritable
from .requests import Planned

MAX_UNACKNOWLEDGED: Final = 5_000
LOOK_S: Final = 0.002
MAX_BEHIND_S: Final = 1.0
"""A sender that is further behind its schedule than this does not catch up on the rest."""


class Pace(Protocol):
    """Decides when the next request is sent."""

    async def due(self) -> None:
        """Return when the next request is due."""
        ...


class ConstantRate:
    """``per_s`` requests a second; the schedule does not wait for answers."""

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = 1 / per_s
        self._clock = clock
        self._next = clock()

    async def due(self) -> None:
        now = self._clock()
        self._next = max(self._next + self._interval_s, now - MAX_BEHIND_S)
        if self._next > now:
            await asyncio.sleep(self._next - now)


class Saturating:
    """Full load: the next request is due as soon as fewer than ``max_open`` have no answer yet."""

    def __init__(self, max_open: int, open_requests: Callable[[], int]) -> None:
        self._max_open = max_open
        self._open_requests = open_requests

    async def due(self) -> None:
        while True:
            if self._open_requests() < self._max_open:
                return
            await asyncio.sleep(LOOK_S)


class Bursts:
    """``size`` requests at once, every ``every_s`` seconds."""

    def __init__(self, size: int, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._every_s = every_s
        self._clock = clock
        self._next = clock()
        self._sent = 0

    async def due(self) -> None:
        if self._sent % self._size == 0:
            await asyncio.sleep(max(0.0, self._next - self._clock()))
            self._next += self._every_s
        self._sent += 1


class LoadGenerator:
    """Sends requests to the topic of one task; calls ``sent`` with each request just before its send."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        sent: Callable[[Planned], None],
        *,
        refused: Callable[[Planned], None] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``refused`` is called with each request whose topic is gone; without it, that is an error."""
        self._broker = broker
        self._topics = topics
        self._sent = sent
        self._refused = refused
        self._wall_clock = wall_clock
        self._unacknowledged: set[asyncio.Future[None]] = set()
        self._error: BaseException | None = None

    @property
    def unacknowledged(self) -> int:
        """The number of requests that the broker has not acknowledged yet."""
        return len(self._unacknowledged)

    async def send(self, plan: Iterator[Planned], pace: Pace, over: Callable[[], bool]) -> None:
        """Send the requests of ``plan`` until ``over()``. Raises BrokerError."""
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
        """Wait until all requests are acknowledged. Raises TimeoutError, or BrokerError for a refused request."""
        async with asyncio.timeout(timeout_s):
            while self._unacknowledged:
                await asyncio.wait(self._unacknowledged)
        if self._error:
            raise self._error

    def _publish(self, planned: Planned) -> None:
        self._sent(planned)
        future = self._broker.publish(planned.message(self._topics, self._wall_clock()))
        self._unacknowledged.add(future)
        future.add_done_callback(partial(self._acknowledged, planned))

    def _acknowledged(self, planned: Planned, future: asyncio.Future[None]) -> None:
        self._unacknowledged.discard(future)
        if not future.cancelled() and (error := future.exception()):
            if self._refused and isinstance(error, NotWritable):
                self._refused(planned)
            else:
                self._error = error
