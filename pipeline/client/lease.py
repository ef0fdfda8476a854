"""The lease of a client: heartbeats while requests with a lease are pending, so that workers know that it lives."""

import asyncio
import logging
import math
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final

from ...schemas.cancels import Heartbeat
from ...schemas.codec import encode
from ...schemas.topics import Header
from ..broker.base import Broker, Headers, Message
from ..errors import BrokerError, InferstreamError, ShuttingDown

log = logging.getLogger(__name__)

BEATS: Final = 3
"""Heartbeats for each lease: two may be late."""


class ClientLease:
    """One name for each client. Lives on the event loop of its client."""

    def __init__(self, broker: Broker) -> None:
        self.name = token_hex(8)
        self._broker = broker
        self._ready: set[str] = set()
        self._pending: dict[str, dict[asyncio.Future[Any], float]] = {}
        self._beating: dict[str, asyncio.Task[None]] = {}
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
            await self._broker.publish(self._heartbeat(topic))
        except InferstreamError as error:
            raise BrokerError(
                f"No heartbeat can be written to {topic}: grant Write, {advice} {error}"
            ) from error
        self._ready.add(topic)

    def hold(
        self, topic: str, lease_s: float, reply: asyncio.Future[Any], closed: Callable[[], None]
    ) -> None:
        """Send heartbeats to the topic until the reply is there. Calls ``closed`` if the client is closed first."""
        pending = self._pending.setdefault(topic, {})
        is_shortest = lease_s < min(pending.values(), default=math.inf)
        pending[reply] = lease_s

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

    async def close(self) -> None:
        for task in self._beating.values():
            task.cancel()
        await asyncio.gather(*self._beating.values(), return_exceptions=True)

    async def _beat(self, topic: str, pending: dict[asyncio.Future[Any], float]) -> None:
        last: asyncio.Future[None] | None = None
        while pending:
            # The request itself counts as the first heartbeat.
            await asyncio.sleep(min(pending.values()) / BEATS)
            # A broker that takes nothing gets one heartbeat, not one more for each time.
            if pending and (last is None or last.done()):
                last = self._broker.publish(self._heartbeat(topic))
                last.add_done_callback(self._sent)

    def _heartbeat(self, topic: str) -> Message:
        return Message(topic, encode(Heartbeat(self.name)), self.name.encode())

    def _sent(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._was_refused:
            self._was_refused = True
            log.warning("A heartbeat was not taken: requests with a lease end when it runs out. %s", error)
