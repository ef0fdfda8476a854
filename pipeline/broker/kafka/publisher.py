"""Publishing to Kafka: the partition of each message, and the flush at the end."""

import asyncio
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from ...config import KafkaConfig
from ...errors import BrokerError, InferstreamError
from ..base import Message
from ..partitioner import partition_of
from ..refusals import no_partition, no_topic
from .connection import broker_error
from .diagnosis import causes
from .producers import Producers
from .topics import TopicAdmin
from .writers import Entry, PartitionWriter, SizeLimit, fail_all

FLUSH_TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 10  # the metadata of one broker may be older than that of another


class TopicWriter:
    """Distributes the messages of one topic over its partitions.

    Keeps them until the partitions are known.
    """

    def __init__(self, topic: str, producers: Producers, config: KafkaConfig) -> None:
        self._limit = SizeLimit(topic)
        self._producers = producers
        self._config = config
        self._writers: list[PartitionWriter] = []
        self._waiting: list[Entry] = []
        self._turn = -1

    @property
    def partitions(self) -> int:
        """The number of partitions; 0 until it is known."""
        return len(self._writers)

    def append(self, entry: Entry) -> None:
        message, _, size = entry
        if size > self._limit.record_bytes:
            fail_all([entry], self._limit.error(size))
        elif not self._writers:
            self._waiting.append(entry)
        elif (partition := self._partition(message)) < len(self._writers):
            self._writers[partition].append(entry)
        else:
            fail_all([entry], no_partition(self._limit.topic, partition, len(self._writers)))

    def grow(self, partitions: int) -> None:
        """The topic now has this number of partitions. Never shrinks."""
        for partition in range(len(self._writers), partitions):
            self._writers.append(PartitionWriter(self._producers, self._config, self._limit, partition))
        waiting = self._waiting
        self._waiting = []
        for entry in waiting:
            self.append(entry)

    def fail(self, error: InferstreamError) -> None:
        """Fail all messages that are not acknowledged."""
        fail_all(self._waiting, error)
        self._waiting = []
        for writer in self._writers:
            writer.fail(error)

    def tasks(self) -> list[asyncio.Task[None]]:
        return [writer.task for writer in self._writers if writer.task]

    def _partition(self, message: Message) -> int:
        if message.partition is not None:
            return message.partition
        if message.key is not None:
            return partition_of(message.key, len(self._writers))
        self._turn = (self._turn + 1) % len(self._writers)
        return self._turn


class KafkaPublisher:
    """The producing half of a connection to Kafka."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._producers = Producers(config, self._on_metadata)
        self._writers: dict[str, TopicWriter] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self.topics = TopicAdmin(self._producers, config)

    async def start(self) -> None:
        """Connect. Raises BrokerError."""
        try:
            await self._producers.start()
        except KafkaError as error:
            raise await self._not_started(error) from error

    async def _not_started(self, error: KafkaError) -> BrokerError:
        """The error with the causes at each address, if there are any."""
        failure = broker_error(error, self._config, "publish")
        found = await causes(self._config) if isinstance(error, KafkaConnectionError) else ""
        return BrokerError(f"{str(failure).removesuffix('.')} ({found}).") if found else failure

    def publish(self, message: Message) -> asyncio.Future[None]:
        """See `Broker.publish`."""
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(
            message.key, message.value, list(message.headers)
        )
        future: asyncio.Future[None] = self._loop.create_future()
        writer = self._writers.get(message.topic) or self._open(message.topic)
        writer.append((message, future, size))
        return future

    async def partitions(self, topic: str) -> int | None:
        """See `Broker.partitions`. Added partitions can be published to as soon as this returns."""
        count = await self.topics.partitions(topic)
        writer = self._writers.get(topic)
        for _ in range(ATTEMPTS):
            if not count or not writer or not 0 < writer.partitions < count:
                break
            await self._producers.current.client.force_metadata_update()
        return count

    async def stop(self) -> None:
        """Flush and disconnect. Messages that are not acknowledged within 10 s fail with BrokerError."""
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_S):
                while tasks := self._tasks():
                    await asyncio.wait(tasks)
        except TimeoutError:
            sentence = (
                f"Kafka at {self._config.bootstrap} did not acknowledge the last records: "
                "check that it is up."
            )
            for writer in self._writers.values():
                writer.fail(BrokerError(sentence))
        finally:
            await self._producers.stop()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._opening, *(task for writer in self._writers.values() for task in writer.tasks())]

    def _open(self, topic: str) -> TopicWriter:
        writer = self._writers[topic] = TopicWriter(topic, self._producers, self._config)
        task = self._loop.create_task(self._find_partitions(topic, writer))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return writer

    async def _find_partitions(self, topic: str, writer: TopicWriter) -> None:
        try:
            # Check first: the producer's own metadata request would create the topic where the
            # broker allows that.
            if await self.topics.partitions(topic) is None:
                raise no_topic(topic)
            writer.grow(len(await self._producers.current.partitions_for(topic)))
        except Exception as error:
            self._writers.pop(topic, None)
            writer.fail(broker_error(error, self._config, f"write to the topic {topic}"))

    def _on_metadata(self, cluster: Any) -> None:
        for topic, writer in self._writers.items():
            if partitions := cluster.partitions_for_topic(topic):
                writer.grow(len(partitions))
