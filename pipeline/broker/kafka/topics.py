"""Topics on Kafka: their partitions, and the creation of missing topics."""

import asyncio
from collections.abc import Collection
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from ...config import KafkaConfig
from ...errors import BrokerError
from ..base import TopicSpec
from .connection import broker_error, connection_arguments
from .producers import Producers

ATTEMPTS: Final = 100
BACKOFF_S: Final = 0.1


class TopicAdmin:
    """Describes and creates topics. Uses the connection of the started producer."""

    def __init__(self, producers: Producers, config: KafkaConfig) -> None:
        self._producers = producers
        self._config = config

    async def partitions(self, topic: str) -> int | None:
        """See `Broker.partitions`. Raises BrokerError."""
        error, leaders = (await self._describe([topic]))[topic]
        if error is TopicAuthorizationFailedError:
            raise broker_error(error(topic), self._config, f"describe the topic {topic}")
        return len(leaders) or None

    async def ensure(self, specs: Collection[TopicSpec]) -> None:
        """Create the missing topics, and wait until each partition has a leader. Raises BrokerError."""
        missing = [spec for spec in specs if not await self._exists(spec)]
        if missing:
            await self._create(missing)
        await self._wait_for_leaders(specs)

    async def _exists(self, spec: TopicSpec) -> bool:
        count = await self.partitions(spec.name)
        if count is not None and spec.lacks(count):
            raise BrokerError(
                f"The topic {spec.name} has {count} of {spec.partitions} partitions: ask for {count}, or add "
                f"more with kafka-topics.sh --bootstrap-server {self._config.bootstrap} --alter "
                f"--topic {spec.name} --partitions {spec.partitions}."
            )
        return count is not None

    async def _create(self, specs: list[TopicSpec]) -> None:
        admin = AIOKafkaAdminClient(**connection_arguments(self._config))
        try:
            await admin.start()
            await _wait_for_controller(admin)
            response = await admin.create_topics([_new_topic(spec) for spec in specs])
        except (KafkaError, TimeoutError) as error:
            raise broker_error(error, self._config, "create topics") from error
        finally:
            await admin.close()
        for topic, code, message in response.topic_errors:
            self._check_created(topic, for_code(code), message)

    def _check_created(self, topic: str, error: type[KafkaError], message: str | None) -> None:
        if error is TopicAuthorizationFailedError:
            user = self._config.username or "this client"
            raise BrokerError(
                f"Kafka does not let {user} create the topic {topic}: grant it Create on the topic."
            )
        # Another worker may have created the same topic in the meantime.
        if error is not NoError and error is not TopicAlreadyExistsError:
            raise BrokerError(
                f"Kafka did not create the topic {topic}: {(message or error.__name__).rstrip('.')}."
            )

    async def _wait_for_leaders(self, specs: Collection[TopicSpec]) -> None:
        for _ in range(ATTEMPTS):
            found = await self._describe([spec.name for spec in specs])
            if all(found[spec.name][1] and all(found[spec.name][1]) for spec in specs):
                return
            await asyncio.sleep(BACKOFF_S)
        names = ", ".join(spec.name for spec in specs)
        raise BrokerError(
            f"Some partitions of {names} have no leader: check that all of Kafka's brokers are up."
        )

    async def _describe(self, topics: list[str]) -> dict[str, tuple[type[KafkaError], list[bool]]]:
        """For each topic: its error code, and for each of its partitions whether it has a leader."""
        response = await self._send(MetadataRequest(topics, allow_auto_topic_creation=False))
        return {
            topic["topic"]: (
                for_code(topic["error_code"]),
                [part["leader"] >= 0 for part in topic["partitions"]],
            )
            for topic in response.to_object()["topics"]
        }

    async def _send(self, request: MetadataRequest) -> Any:
        attempt = 1
        while True:
            client = self._producers.current.client
            try:
                return await client.send(client.get_random_node(), request)
            except KafkaError as error:
                if attempt == ATTEMPTS or not error.retriable:
                    raise broker_error(error, self._config, "describe topics") from error
            await asyncio.sleep(BACKOFF_S)
            attempt += 1


def _new_topic(spec: TopicSpec) -> NewTopic:
    configs = {} if spec.retention_ms is None else {"retention.ms": str(spec.retention_ms)}
    return NewTopic(spec.name, spec.new_partitions, spec.replication, topic_configs=configs)


async def _wait_for_controller(admin: AIOKafkaAdminClient) -> None:
    """Wait until the broker reports a controller."""
    # A broker that has just started reports none, and aiokafka then fails on a None.
    for _ in range(ATTEMPTS):
        if admin._client.cluster.controller is not None:
            return
        await asyncio.sleep(BACKOFF_S)
        await admin._client.force_metadata_update()
    raise BrokerError("Kafka has no controller to create topics: check that its controller quorum is up.")
