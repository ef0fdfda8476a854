"""From messages to batches: each partition has one batch in flight, and new messages wait for the
next batch.

`AIOKafkaProducer.send` costs a coroutine and a future with metadata per record. Here all messages
that a partition gets while its previous batch is in flight are sent as one batch, and one
acknowledgement resolves their futures.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from aiokafka.errors import TopicAuthorizationFailedError

from ...config import KafkaConfig
from ...errors import InferstreamError, NotWritable, ReplyTooLarge
from ..base import Message
from ..refusals import no_topic
from .connection import REFUSED, TOO_LARGE, broker_error
from .producers import BATCH_BYTES, Producers
from .topics import TopicAdmin

RECORD_BYTES: Final = 1_048_588
"""Kafka's default for message.max.bytes; larger records are refused here for every topic."""

GONE_CHECK_S: Final = 0.5
"""Seconds after which a batch is late enough to ask whether its topic is still there."""

GONE_CHECKS: Final = 2
"""Answers in a row that a topic is gone: one broker may know of a new topic later than another."""

OFTEN: Final = (
    "Often the topic's cleanup.policy is compact, which refuses records without a key: set it to delete."
)

BY_THE_BROKER: Final = 1
"""The type of a timestamp that the broker set (LogAppendTime)."""

Entry = tuple[Message, asyncio.Future[None], int]
"""A message, its caller's future, and its maximum size in a batch, in bytes."""


class SizeLimit:
    """The sizes that a topic accepts, learned from the broker's refusals.

    Reading max.message.bytes would need a right that many users do not have. What is learned holds
    until the process ends.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.record_bytes = RECORD_BYTES
        self.batch_bytes = BATCH_BYTES

    def learn(self, size: int, *, alone: bool) -> None:
        """The broker has refused a batch of this size; ``alone``: it had one record."""
        if alone:
            self.record_bytes = min(self.record_bytes, size - 1)
        else:
            self.batch_bytes = min(self.batch_bytes, size // 2)

    def error(self, size: int) -> ReplyTooLarge:
        if size > RECORD_BYTES:
            return ReplyTooLarge(
                f"A record of {size} bytes is larger than the maximum of {RECORD_BYTES} bytes: "
                "make it smaller."
            )
        return ReplyTooLarge(
            f"A record of {size} bytes is too large for the topic {self.topic}: make it smaller, or "
            "raise the topic's max.message.bytes and restart the processes that write to it."
        )


class Route(NamedTuple):
    """How records reach Kafka: the producers in use, and what tells whether a topic is there."""

    producers: Producers
    config: KafkaConfig
    topics: TopicAdmin


class PartitionWriter:
    """Appends to one partition of a topic, in the order of the calls."""

    def __init__(
        self,
        route: Route,
        limit: SizeLimit,
        partition: int,
        on_gone: Callable[[NotWritable], None] = lambda error: None,
    ) -> None:
        """``on_gone`` is called with the error when the topic, or this partition of it, is gone."""
        self._producers, self._config, self._topics = route
        self._limit = limit
        self._partition = partition
        self._on_gone = on_gone
        self._room = BATCH_BYTES
        """Bytes of the next batch: fewer after a refusal, until the refused record was alone."""
        self._pending: deque[Entry] = deque()
        self._in_flight: list[Entry] = []
        self._gone: NotWritable | None = None
        self.sent_at_s: float | None = None
        """When the batch in flight was sent, by the event loop's clock."""
        self.task: asyncio.Task[None] | None = None

    def append(self, entry: Entry) -> None:
        self._pending.append(entry)
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._drain())

    def fail(self, error: InferstreamError) -> None:
        """Fail all messages that are not acknowledged."""
        fail_all([*self._in_flight, *self._pending], error)
        self._in_flight = []
        self._pending.clear()

    async def _drain(self) -> None:
        try:
            while self._pending:
                producer = self._producers.current
                batch = self._next_batch(producer)
                await self._send(producer, batch)
        except Exception as error:
            self.fail(self._failure(error))
        finally:
            self.task = None
            self.sent_at_s = None

    def _failure(self, error: Exception) -> InferstreamError:
        topic = self._limit.topic
        if self._gone is not None:
            self._on_gone(self._gone)
            return self._gone
        failure = broker_error(error, self._config, f"write to the topic {topic}")
        # Only this topic is concerned; other topics of the same broker are written to.
        return NotWritable(str(failure)) if isinstance(error, TopicAuthorizationFailedError) else failure

    @property
    def partition(self) -> int:
        return self._partition

    def give_up(self, error: NotWritable) -> None:
        """The partition is gone: let aiokafka drop its batch. All messages fail with ``error``."""
        self._gone = error
        accumulator = self._producers.current._message_accumulator
        at = (self._limit.topic, self._partition)
        for batch in (*accumulator._batches.get(at, ()), *accumulator._pending_batches):
            if batch.tp == at:
                batch._ttl = -1.0  # an idempotent producer waits without a limit for a partition's leader

    def _next_batch(self, producer: Any) -> Any:
        """Move the oldest pending messages into a batch; they are in flight from now on."""
        pending = self._pending
        batch = producer.create_batch()
        now_ms = _now_ms()
        room = min(self._limit.batch_bytes, self._room)
        entries: list[Entry] = []
        self._in_flight = entries
        while pending:
            message, _, size = pending[0]
            room -= size
            if entries and room < 0:
                break
            entries.append(pending.popleft())
            batch.append(
                timestamp=now_ms, key=message.key, value=message.value, headers=list(message.headers)
            )
        return batch

    async def _send(self, producer: Any, batch: Any) -> None:
        await self._check_topic(producer)
        self._check_partition(producer)
        self.sent_at_s = asyncio.get_running_loop().time()
        sent_ms = _now_ms()
        try:
            stored = await (await producer.send_batch(batch, self._limit.topic, partition=self._partition))
        except TOO_LARGE:
            await self._producers.replace(producer)
            size = sum(size for _, _, size in self._in_flight)
            self._limit.learn(size, alone=len(self._in_flight) == 1)
            self._split_or_fail(self._limit.error(size))
        except REFUSED as error:
            await self._producers.replace(producer)
            cause = broker_error(error, self._config, f"take a record for the topic {self._limit.topic}")
            self._split_or_fail(NotWritable(f"{cause} {OFTEN}"))
        except AssertionError:
            self._check_partition(producer)  # its metadata may have been refreshed since the first check
            raise
        else:
            for _, future, _ in self._in_flight:
                if not future.done():
                    future.set_result(None)
            self._in_flight = []
            if stored.timestamp_type == BY_THE_BROKER:
                self._producers.skew.observe(sent_ms, stored.timestamp, _now_ms())
            self._room = min(2 * self._room, BATCH_BYTES)

    def _check_partition(self, producer: Any) -> None:
        """Raise NotWritable if the topic no longer has this partition."""
        # aiokafka has only an `assert` for it.
        topic = self._limit.topic
        known = producer.client.cluster.partitions_for_topic(topic)
        if known and self._partition not in known:
            error = NotWritable(
                f"The topic {topic} was deleted and created again with {len(known)} partitions, fewer than "
                "before: restart the worker. If it needs more partitions, first delete the topic, or add "
                f"partitions with kafka-topics.sh --bootstrap-server {self._config.bootstrap} --alter "
                f"--topic {topic}."
            )
            self._on_gone(error)
            raise error

    async def _check_topic(self, producer: Any) -> None:
        """Raise NotWritable if the topic is gone: aiokafka would wait 40 s for it."""
        topic = self._limit.topic
        if producer.client.cluster.partitions_for_topic(topic) is None:
            for _ in range(GONE_CHECKS):
                if await self._topics.partitions(topic) is not None:
                    return
                await asyncio.sleep(GONE_CHECK_S)
            self._gone = no_topic(topic)
            raise self._gone

    def _split_or_fail(self, error: InferstreamError) -> None:
        """Send a refused batch again in smaller batches; a batch of one record fails."""
        entries = self._in_flight
        self._in_flight = []
        if len(entries) > 1:
            self._room = sum(size for _, _, size in entries) // 2
            self._pending.extendleft(reversed(entries))
        else:
            fail_all(entries, error)


def fail_all(entries: Iterable[Entry], error: InferstreamError) -> None:
    for _, future, _ in entries:
        if not future.done():
            future.set_exception(error)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
