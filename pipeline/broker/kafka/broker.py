"""The broker on Kafka, through aiokafka."""

import asyncio
from collections.abc import Collection
from typing import Self

from ...config import KafkaConfig
from ...settings.validation import check_kafka
from ..base import Listener, Message, TopicPartition, TopicSpec
from ..refusals import no_topic
from .consumer import KafkaConsumer
from .publisher import KafkaPublisher


class KafkaBroker:
    """See `Broker` in `base`."""

    _publisher: KafkaPublisher

    def __init__(self, config: KafkaConfig) -> None:
        """Raises UsageError for a setting that cannot be used."""
        self._config = check_kafka(config)
        self._consumers: list[KafkaConsumer] = []

    async def __aenter__(self) -> Self:
        """Connect. Raises BrokerError, or UsageError for a CA file that cannot be read."""
        self._publisher = KafkaPublisher(self._config)
        await self._publisher.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for consumer in self._consumers:
            await consumer.close()
        await self._publisher.stop()

    def publish(self, message: Message) -> asyncio.Future[None]:
        return self._publisher.publish(message)

    async def consume(
        self,
        topics: Collection[str],
        *,
        group: str | None = None,
        listener: Listener | None = None,
        member: str | None = None,
        start: str = "earliest",
    ) -> KafkaConsumer:
        partitions = [partition for topic in topics for partition in await self._partitions_of(topic)]
        consumer = KafkaConsumer(self._config, group, listener, member)
        if group is None:
            await consumer.read(partitions, latest=start == "latest")
        else:
            await consumer.join(topics)
        self._consumers.append(consumer)
        return consumer

    async def ensure_topics(self, specs: Collection[TopicSpec]) -> None:
        self._publisher.owns(spec.name for spec in specs)
        await self._publisher.topics.ensure(specs)

    async def faults(self, topics: Collection[str]) -> list[str]:
        """A sentence for each fault of these topics that keeps them from being fit for requests."""
        return await self._publisher.topics.faults(topics)

    async def partitions(self, topic: str) -> int | None:
        return await self._publisher.partitions(topic)

    async def _partitions_of(self, topic: str) -> list[TopicPartition]:
        # Check first: aiokafka's own metadata request would create the topic where the broker
        # allows that.
        count = await self.partitions(topic)
        if count is None:
            raise no_topic(topic)
        return [TopicPartition(topic, number) for number in range(count)]
