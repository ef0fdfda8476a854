"""The lease of a client: heartbeats while requests with a lease are pending, so that workers know that it lives."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from secrets import token_hex
from typing import Any, Final, NamedTuple

from ...schemas.cancels import Heartbeat
from ...schemas.codec import encode
from ...schemas.topics import Header
from ..broker.base import Broker, Headers, Message
from ..errors import BrokerError, InferstreamError, ShuttingDown
from .reading import Reading

log = logging.getLogger(__name__)

BEATS: Final = 3
"""Heartbeats for each lease: two may be late."""

READ_S: Final = 5.0
"""How often it is said at least how far answers in pieces are read."""

SOON_S: Final = 0.05
"""What is read meanwhile is said by one heartbeat."""

MOST_READ: Final = 500
"""Answers in one heartbeat: with ids of 1 000 characters it has half of a megabyte."""


class Held(NamedTuple):
    """A request with a lease: its id, how long it lasts without a heartbeat, and the reading of its pieces."""

    id: str
    lease_s: float
    reading: Reading | None = None


class ClientLease:
    """One name for each client. Lives on the event loop of its client."""

    def __init__(self, broker: Broker) -> None:
        self.name = token_hex(8)
        self._broker = broker
        self._ready: set[str] = set()
        self._pending: dict[str, dict[asyncio.Future[Any], Held]] = {}
        self._beating: dict[str, asyncio.Task[None]] = {}
        self._soon: dict[str, asyncio.TimerHandle] = {}
        self._last: dict[str, asyncio.Future[None]] = {}
        self._was_refused = False

    def headers(self, lease_s: float) -> Headers:
        """The headers of a request that ends ``lease_s`` after the last heartbeat."""
        return ((Header.LEASE, self.name.encode()), (Header.LEASE_MS, b"%d" % round(lease_s * 1e3)))

    async def open(self, topic: str) -> None:
        """Send the first heartbeat. Raises BrokerError where none can be sent: requests would end by their lease."""
        if topic in self._ready:
            return
        advice = "or send without a lease (lease_s=None)."
        if await self._broker.partitions(topic) is None:
            raise BrokerError(
                f"There is no topic {topic} for heartbeats: start a worker, which makes it, {advice}"
            )
        try:
            await self._broker.publish(self._heartbeat(topic, {}))
        except InferstreamError as error:
            raise BrokerError(
                f"No heartbeat can be written to {topic}: grant Write, {advice} {error}"
            ) from error
        self._ready.add(topic)

    def hold(self, topic: str, held: Held, reply: asyncio.Future[Any], closed: Callable[[], None]) -> None:
        """Send heartbeats to the topic until the reply is there. Calls ``closed`` if the client is closed first."""
        pending = self._pending.setdefault(topic, {})
        is_shortest = _interval_s([held]) < _interval_s(pending.values())
        pending[reply] = held
        if held.reading is not None:
            held.reading.moved = partial(self._say_soon, topic)

        def ended(_: object) -> None:
            pending.pop(reply, None)
            if not reply.cancelled() and isinstance(reply.exception(), ShuttingDown):
                closed()

        reply.add_done_callback(ended)
        beating = self._beating.get(topic)
        if beating is not None and is_shortest:
            beating.cancel()
        if beating is None or is_shortest or beating.done():
            self._beating[topic] = asyncio.create_task(self._beat(topic, pending))

    def _say_soon(self, topic: str) -> None:
        if topic not in self._soon:
            self._soon[topic] = asyncio.get_running_loop().call_later(SOON_S, self._say, topic)

    def _say(self, topic: str) -> None:
        """Say how far the answers are read of which that has changed."""
        del self._soon[topic]
        if (
            last := self._last.get(topic)
        ) is not None and not last.done():  # a broker that takes nothing gets no more
            self._say_soon(topic)
            return
        readings = [
            (held.id, held.reading) for held in self._pending[topic].values() if held.reading is not None
        ]
        moved = [(identity, reading) for identity, reading in readings if not reading.is_said]
        if moved:
            self._publish(topic, moved)

    async def close(self) -> None:
        for timer in self._soon.values():
            timer.cancel()
        for task in self._beating.values():
            task.cancel()
        await asyncio.gather(*self._beating.values(), return_exceptions=True)

    async def _beat(self, topic: str, pending: dict[asyncio.Future[Any], Held]) -> None:
        while pending:
            # The request itself counts as the first heartbeat.
            await asyncio.sleep(_interval_s(pending.values()))
            # A broker that takes nothing gets one heartbeat, not one more for each time.
            if pending and ((last := self._last.get(topic)) is None or last.done()):
                held = pending.values()
                self._publish(topic, [(one.id, one.reading) for one in held if one.reading is not None])

    def _publish(self, topic: str, readings: Sequence[tuple[str, Reading]]) -> None:
        """A heartbeat that says how far these are; several if they are many."""
        for first in range(0, max(1, len(readings)), MOST_READ):
            read = {identity: reading.say() for identity, reading in readings[first : first + MOST_READ]}
            last = self._last[topic] = self._broker.publish(self._heartbeat(topic, read))
            last.add_done_callback(self._sent)

    def _heartbeat(self, topic: str, read: dict[str, int]) -> Message:
        return Message(topic, encode(Heartbeat(self.name, read)), self.name.encode())

    def _sent(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._was_refused:
            self._was_refused = True
            log.warning("A heartbeat was not taken: requests with a lease end when it runs out. %s", error)


def _interval_s(held: Iterable[Held]) -> float:
    """The time between two heartbeats of these requests."""
    return min(
        (min(one.lease_s / BEATS, math.inf if one.reading is None else READ_S) for one in held),
        default=math.inf,
    )
