"""From messages to batches: each partition has one batch in flight, and new messages wait for the
next batch.

`AIOKafkaProducer.send` costs a coroutine and a future with metadata per record. Here all messages
that a partition gets while its previous batch is in flight are sent as one batch, and one
acknowledgement resolves their futures.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ...config import KafkaConfig
from ...errors import BrokerError, InferstreamError, ReplyTooLarge
from ..base import Message
from .connection import TOO_LARGE, broker_error
from .producers import BATCH_BYTES, Producers

RECORD_BYTES: Final = 1_048_588
"""Kafka's default for message.max.bytes; larger records are refused here for every topic."""

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


class PartitionWriter:
    """Appends to one partition of a topic, in the order of the calls."""

    def __init__(self, producers: Producers, config: KafkaConfig, limit: SizeLimit, partition: int) -> None:
        self._producers = producers
        self._config = config
        self._limit = limit
        self._partition = partition
        self._pending: deque[Entry] = deque()
        self._in_flight: list[Entry] = []
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
            self.fail(broker_error(error, self._config, f"write to the topic {self._limit.topic}"))
        finally:
            self.task = None

    def _next_batch(self, producer: Any) -> Any:
        """Move the oldest pending messages into a batch; they are in flight from now on."""
        pending = self._pending
        batch = producer.create_batch()
        now_ms = time.time_ns() // 1_000_000
        room = self._limit.batch_bytes
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
        self._check_partition(producer)
        try:
            await (await producer.send_batch(batch, self._limit.topic, partition=self._partition))
        except TOO_LARGE:
            await self._producers.replace(producer)
            self._split_or_fail()
        except AssertionError:
            self._check_partition(producer)  # its metadata may have been refreshed since the first check
            raise
        else:
            for _, future, _ in self._in_flight:
                if not future.done():
                    future.set_result(None)
            self._in_flight = []

    def _check_partition(self, producer: Any) -> None:
        """Raise BrokerError if the topic no longer has this partition."""
        # aiokafka has only an `assert` for it.
        topic = self._limit.topic
        known = producer.client.cluster.partitions_for_topic(topic)
        if known and self._partition not in known:
            raise BrokerError(
                f"The topic {topic} was deleted and created again with {len(known)} partitions, fewer than "
                "before: restart the worker. If it needs more partitions, first delete the topic, or add "
                f"partitions with kafka-topics.sh --bootstrap-server {self._config.bootstrap} --alter "
                f"--topic {topic}."
            )

    def _split_or_fail(self) -> None:
        """Send a refused batch again in smaller batches; a batch of one record fails."""
        entries = self._in_flight
        self._in_flight = []
        size = sum(size for _, _, size in entries)
        if len(entries) > 1:
            self._limit.batch_bytes = min(self._limit.batch_bytes, size // 2)
            self._pending.extendleft(reversed(entries))
        else:
            self._limit.record_bytes = min(self._limit.record_bytes, size - 1)
            fail_all(entries, self._limit.error(size))


def fail_all(entries: Iterable[Entry], error: InferstreamError) -> None:
    for _, future, _ in entries:
        if not future.done():
            future.set_exception(error)
