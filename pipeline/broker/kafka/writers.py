"""From published messages to batches: one batch of each partition in flight, the next one gathering meanwhile.

`AIOKafkaProducer.send` costs a coroutine and a future with metadata for each record. Here the messages that a
partition got while its last batch was on the way travel as one, and one acknowledgement resolves their futures.
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
"""What Kafka takes by default (message.max.bytes): more is refused here, whatever the topic would take."""

Entry = tuple[Message, asyncio.Future[None], int]
"""A message on its way, the future of its caller, and the bytes that it takes in a batch at most."""


class SizeLimit:
    """What a topic takes, learned from its refusals: to read max.message.bytes needs a right that many lack.

    What was learned holds as long as the process.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.record_bytes = RECORD_BYTES
        self.batch_bytes = BATCH_BYTES

    def refused_record(self, size: int) -> None:
        self.record_bytes = min(self.record_bytes, size - 1)

    def refused_batch(self, size: int) -> None:
        self.batch_bytes = min(self.batch_bytes, size // 2)

    def error(self, size: int) -> ReplyTooLarge:
        if size > RECORD_BYTES:
            return ReplyTooLarge(
                f"A record of {size} bytes is more than the {RECORD_BYTES} that are published: make it smaller."
            )
        return ReplyTooLarge(
            f"A record of {size} bytes is more than the topic {self.topic} takes: make it smaller, "
            "or raise the topic's max.message.bytes and start again what writes to it."
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
        """Give up all that is not acknowledged."""
        fail_all([*self._in_flight, *self._pending], error)
        self._in_flight = []
        self._pending.clear()

    async def _drain(self) -> None:
        try:
            while self._pending:
                producer = self._producers.current
                batch = self._gather(producer)
                await self._deliver(producer, batch)
        except Exception as error:
            self.fail(broker_error(error, self._config, f"write to the topic {self._limit.topic}"))
        finally:
            self.task = None

    def _gather(self, producer: Any) -> Any:
        """A batch of the oldest pending messages, which are in flight from now on."""
        batch, pending = producer.create_batch(), self._pending
        now_ms, room = time.time_ns() // 1_000_000, self._limit.batch_bytes
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

    async def _deliver(self, producer: Any, batch: Any) -> None:
        self._require(producer)
        try:
            await (await producer.send_batch(batch, self._limit.topic, partition=self._partition))
        except TOO_LARGE:
            await self._producers.replace(producer)
            self._refused()
        except AssertionError:
            self._require(producer)  # it may have looked at the topic anew meanwhile
            raise
        else:
            for _, future, _ in self._in_flight:
                if not future.done():
                    future.set_result(None)
            self._in_flight = []

    def _require(self, producer: Any) -> None:
        """Raise BrokerError when the topic has lost this partition, which aiokafka only asserts not to be so."""
        topic, known = self._limit.topic, producer.client.cluster.partitions_for_topic(self._limit.topic)
        if known and self._partition not in known:
            raise BrokerError(
                f"The topic {topic} was deleted and made anew with {len(known)} partitions, fewer than it had: start "
                "the worker again; should it have more, delete the topic first or add some with kafka-topics.sh "
                f"--bootstrap-server {self._config.bootstrap} --alter --topic {topic}."
            )

    def _refused(self) -> None:
        """Fail the record that the topic does not take; several go again in smaller batches, down to that one."""
        entries, self._in_flight = self._in_flight, []
        size = sum(size for _, _, size in entries)
        if len(entries) > 1:
            self._limit.refused_batch(size)
            self._pending.extendleft(reversed(entries))
        else:
            self._limit.refused_record(size)
            fail_all(entries, self._limit.error(size))


def fail_all(entries: Iterable[Entry], error: InferstreamError) -> None:
    for _, future, _ in entries:
        if not future.done():
            future.set_exception(error)
