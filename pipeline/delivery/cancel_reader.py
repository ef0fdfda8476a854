"""Reads the topic of cancels beside the requests: without a group, so that every worker reads all of it."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from ...schemas.cancels import Cancel, Heartbeat, decode_cancel
from ...schemas.codec import DecodeError
from ...schemas.topics import Header
from ..broker.base import Broker, Consumer, Record, TopicPartition
from ..config import RetryConfig
from ..errors import BrokerError
from ..telemetry import TaskMetrics
from .arrival import MAX_ID_CHARACTERS, header_map
from .cancel_memory import CLOCKS_MS, CancelMemory, KnownCancel, RequestName
from .cancels import ANSWERS_ALL, Cancels
from .leases import Leases

log = logging.getLogger(__name__)

POLL_RECORDS: Final = 500
"""About 1 ms of the event loop."""

POLL_MS: Final = 250

PAUSE_S: Final = 0.03
"""Between two polls, also the longest that a cancel waits here: the polls of an embedded broker are woken by each
record of any topic."""

MIN_SPAN_S: Final = 600.0
"""How far back cancels are read at the start: a request is mostly redelivered within seconds."""

CATCH_UP_S: Final = 15.0
LOG_S: Final = 60.0


class CancelReader:
    """Keeps `Cancels` up to date. Its `run` stands in the background of a worker."""

    def __init__(
        self,
        broker: Broker,
        topic: str,
        metrics: TaskMetrics,
        span_s: float = MIN_SPAN_S,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Cancels are read from ``span_s`` before the start on, and from earlier when a request is older.

        ``clock`` is that of the leases, in seconds.
        """
        self._leases = Leases(topic, broker.publish, clock)
        self.cancels = Cancels(self._leases, metrics, since_ms=math.inf)
        self._broker = broker
        self._topic = topic
        self._span_ms = round(span_s * 1e3)
        self._wall_clock = wall_clock
        self._told_at = 0.0

    async def run(self) -> None:
        """Return never. Raises BrokerError if the topic cannot be read."""
        consumer = await self._broker.consume([self._topic], start="latest")
        try:
            await self._catch_up(consumer)
            older = asyncio.create_task(self._read_older())
            try:
                while not older.done():
                    records = await consumer.poll(POLL_RECORDS, POLL_MS)
                    self._take(records)
                    self._leases.check()
                    await asyncio.sleep(PAUSE_S if len(records) < POLL_RECORDS else 0)
                await older
            finally:
                older.cancel()
                await asyncio.wait([older])
        finally:
            await consumer.close()

    async def _catch_up(self, consumer: Consumer) -> None:
        since_ms = self._now_ms() - self._span_ms
        partitions = consumer.assignment()
        try:
            async with asyncio.timeout(CATCH_UP_S):
                ends = await consumer.end_offsets(partitions)
                await consumer.seek(await consumer.offsets_at(dict.fromkeys(partitions, since_ms)))
                while _is_before(consumer, ends):
                    self._take(await consumer.poll(POLL_RECORDS, POLL_MS))
        except (TimeoutError, BrokerError) as error:
            log.warning(
                "The cancels of the last %d s could not all be read (%s): requests are answered now, also those "
                "that were cancelled before this start.",
                self._span_ms / 1e3,
                str(error) or f"{CATCH_UP_S:g} s were not enough",
            )
        self.cancels.covered(since_ms)

    async def _read_older(self) -> None:
        """Read earlier cancels whenever a request is older than what is known."""
        while True:
            await self.cancels.wanted.wait()
            wanted_ms = self.cancels.take_wanted_ms()
            if wanted_ms < self.cancels.since_ms:
                since_ms = await self._extend(max(0, int(wanted_ms) - CLOCKS_MS))
                # From 1970 on is all there is: times before it, which a producer can write, cost no reading again.
                self.cancels.covered(min(since_ms, wanted_ms) if since_ms else ANSWERS_ALL)

    async def _extend(self, since_ms: int) -> int:
        """Read the cancels from ``since_ms`` on; if there is no time or no room, as many as can be.

        Returns the time from which on they are known now.
        """
        memory = self.cancels.memory
        now_ms = self._now_ms()
        age_s = (now_ms - since_ms) / 1e3
        # At least twice as far back as before: each of many requests may be a little older than the one before.
        # What becomes known is kept as long as requests of this age may come.
        self._span_ms = max(2 * self._span_ms, now_ms - since_ms)
        since_ms = max(0, now_ms - self._span_ms)
        older = CancelMemory(max(0, memory.max_bytes - memory.bytes))
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._read_between(since_ms, int(self.cancels.since_ms), older)
        except (TimeoutError, BrokerError) as error:
            log.warning(
                "A request is %d s old, and the cancels since then could not all be read (%s): such requests are "
                "answered, also if they were cancelled.",
                age_s,
                str(error) or "no time was left",
            )
        memory.put_before(older)
        self._tell_forgotten()
        return since_ms

    async def _read_between(self, since_ms: int, until_ms: int, memory: CancelMemory) -> None:
        consumer = await self._broker.consume([self._topic], start="latest")
        try:
            partitions = consumer.assignment()
            ends = await consumer.offsets_at(dict.fromkeys(partitions, until_ms))
            await consumer.seek(await consumer.offsets_at(dict.fromkeys(partitions, since_ms)))
            while _is_before(consumer, ends):
                for record in await consumer.poll(POLL_RECORDS, POLL_MS):
                    if record.offset < ends.get(TopicPartition(record.topic, record.partition), 0):
                        _remember(record, memory.add)
        finally:
            await consumer.close()

    def _take(self, records: Sequence[Record]) -> None:
        for record in records:
            heartbeat = _remember(record, self.cancels.add)
            if heartbeat is not None:
                self._leases.heard(heartbeat.lease, heartbeat.read)
        if records:
            before_ms = self._now_ms() - self._span_ms
            if self.cancels.memory.expire(before_ms):
                self.cancels.since_ms = max(self.cancels.since_ms, before_ms)
            self._tell_forgotten()

    def _tell_forgotten(self) -> None:
        memory = self.cancels.memory
        now = self._wall_clock()
        if memory.forgotten and now - self._told_at >= LOG_S:
            self._told_at = now
            log.warning(
                "The %d oldest cancels are forgotten, since there is room for %d bytes: if their requests are read "
                "again, they are answered.",
                memory.forgotten,
                memory.max_bytes,
            )
            memory.forgotten = 0

    def _now_ms(self) -> int:
        return round(self._wall_clock() * 1e3)


def cancel_span_s(retries: RetryConfig) -> float:
    """How far back a worker reads cancels at its start: a request may wait in each retry topic."""
    return max(MIN_SPAN_S, 2.0 * sum(retries.tiers_s))


def _is_before(consumer: Consumer, ends: dict[TopicPartition, int]) -> bool:
    positions = consumer.positions()
    return any(positions.get(at, 0) < end for at, end in ends.items())


def _remember(record: Record, add: Callable[[RequestName, KnownCancel], None]) -> Heartbeat | None:
    """Add the cancel of a record; returns a heartbeat. Anything else is passed over."""
    try:
        message = decode_cancel(record.value)
    except DecodeError:
        return None
    if not isinstance(message, Cancel):
        return message
    headers = header_map(record)
    if len(message.id) <= MAX_ID_CHARACTERS:
        name = RequestName(headers.get(Header.TENANT, b"").decode(errors="replace"), message.id)
        add(name, KnownCancel(record.timestamp_ms, message.reason, headers.get(Header.TRACEPARENT)))
    return None
