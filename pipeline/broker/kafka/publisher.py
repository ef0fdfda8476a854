"""Publishing to Kafka: the topics that are written to, and the flush at the end."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from ...config import KafkaConfig
from ...errors import BrokerError
from ..base import Message
from ..refusals import no_topic
from .connection import broker_error
from .diagnosis import causes
from .producers import Producers
from .topic_writer import TopicWriter
from .topics import TopicAdmin
from .writers import GONE_CHECK_S, GONE_CHECKS, Route

log = logging.getLogger(__name__)

WAITING_S: Final = 5.0
WARN_EVERY_S: Final = 30.0
FLUSH_TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 10  # the metadata of one broker may be older than that of another


class KafkaPublisher:
    """The producing half of a connection to Kafka."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        producers = Producers(config, self._on_metadata)
        self.topics = TopicAdmin(producers, config)
        self._route = Route(producers, config, self.topics)
        # aiokafka sends nothing to a broker for 0.1 s after a topic of it failed. A topic that only a
        # request has named must not hold up the replies of others.
        self._foreign = self._route._replace(producers=Producers(config, self._on_metadata))
        self._own: set[str] = set()
        self._writers: dict[str, TopicWriter] = {}
        self._warned_s: dict[str, float] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises BrokerError."""
        try:
            await self._route.producers.start()
        except KafkaError as error:
            raise await self._not_started(error) from error
        self._watching = self._loop.create_task(self._watch_for_gone_topics())

    def owns(self, topics: Iterable[str]) -> None:
        """These topics are the caller's own: all others get a producer beside theirs."""
        self._own.update(topics)

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
            await writer.route.producers.current.client.force_metadata_update()
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
            if self._watching is not None:
                self._watching.cancel()
            await asyncio.gather(self._route.producers.stop(), self._foreign.producers.stop())

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._opening, *(task for writer in self._writers.values() for task in writer.tasks())]

    def _open(self, topic: str) -> TopicWriter:
        is_foreign = self._own and topic not in self._own
        route = self._foreign if is_foreign else self._route
        writer = self._writers[topic] = TopicWriter(topic, route, lambda: self._forget(topic, writer))
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
            producers = writer.route.producers
            await producers.start()
            writer.grow(len(await producers.current.partitions_for(topic)))
        except Exception as error:
            self._writers.pop(topic, None)
            writer.fail(broker_error(error, self._config, f"write to the topic {topic}"))

    def _forget(self, topic: str, writer: TopicWriter) -> None:
        """The topic is gone: the next message for it asks for it again."""
        if self._writers.get(topic) is writer:
            del self._writers[topic]
            writer.route.producers.current.client._topics.discard(topic)

    async def _watch_for_gone_topics(self) -> None:
        misses: Counter[str] = Counter()
        while True:
            await asyncio.sleep(GONE_CHECK_S)
            before_s = self._loop.time() - GONE_CHECK_S
            late = {topic: found for topic, one in self._writers.items() if (found := one.late(before_s))}
            counts = await asyncio.gather(*map(self.topics.partitions, late), return_exceptions=True)
            for topic in late.keys() & self._writers.keys():  # some were forgotten meanwhile
                self._warn_of_waiting(topic)
            misses = Counter({topic: misses[topic] for topic in late})
            for (topic, writers), count in zip(late.items(), counts, strict=True):
                if isinstance(count, BaseException):
                    continue
                gone = [writer for writer in writers if count is None or writer.partition >= count]
                misses[topic] = misses[topic] + 1 if gone else 0
                if misses[topic] >= GONE_CHECKS:
                    for writer in gone:
                        writer.give_up(no_topic(topic))

    def _warn_of_waiting(self, topic: str) -> None:
        now_s = self._loop.time()
        if (
            self._writers[topic].late(now_s - WAITING_S)
            and now_s > self._warned_s.get(topic, 0) + WARN_EVERY_S
        ):
            self._warned_s[topic] = now_s
            log.warning(
                "Kafka has not taken records for the topic %s for %d s: its brokers are down, or fewer replicas "
                "are in sync than its min.insync.replicas. The records wait, and what they answer is not committed.",
                topic,
                WAITING_S,
            )

    def _on_metadata(self, cluster: Any) -> None:
        for topic, writer in self._writers.items():
            if partitions := cluster.partitions_for_topic(topic):
                writer.grow(len(partitions))
