"""Topics on Kafka: their partitions, and the creation of missing topics."""

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from ...config import KafkaConfig
from ...errors import BrokerError
from ..base import TopicSpec
from .connection import broker_error, connection_arguments
from .fitness import KEPT_BY_KEY, RELIED_ON, configs_of, unfit
from .producers import Producers
from .reaching import bounded, look_up_s
from .requests import CreateTopics

log = logging.getLogger(__name__)

ATTEMPTS: Final = 100
BACKOFF_S: Final = 0.1
CREATE_TIMEOUT_MS: Final = 20_000
OTHER_BROKER_S: Final = 1.0
"""A broker that does not answer within this time is not asked for topics that others do not know."""

TOPICS_AT_ONCE: Final = 1_000
"""Topics in one request: Kafka answers with about 100 bytes for each."""

Described = tuple[type[KafkaError], list[bool]]
"""The error code of a topic, and for each of its partitions whether it has a leader."""


class TopicAdmin:
    """Describes and creates topics. Uses the connection of the started producer."""

    def __init__(self, producers: Producers, config: KafkaConfig) -> None:
        self._producers = producers
        self._config = config
        self._asked: dict[str, asyncio.Future[Described]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def partitions(self, topic: str) -> int | None:
        """See `Broker.partitions`. Raises BrokerError."""
        if topic not in self._asked:
            self._asked[topic] = asyncio.get_running_loop().create_future()
        asked = self._asked[topic]
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer_all())
        error, leaders = await asyncio.shield(asked)
        if error is TopicAuthorizationFailedError:
            raise broker_error(error(topic), self._config, f"describe the topic {topic}")
        return len(leaders) or None

    async def _answer_all(self) -> None:
        """Ask for all topics that are asked for, many in one request."""
        try:
            await asyncio.sleep(0)  # what is asked at once goes together
            while self._asked:
                taken = [self._asked.popitem() for _ in range(min(len(self._asked), TOPICS_AT_ONCE))]
                await self._answer(dict(taken))
        finally:
            self._asking = None

    async def _answer(self, asked: dict[str, asyncio.Future[Described]]) -> None:
        try:
            found = await self._describe(list(asked))
            for topic, future in asked.items():
                future.set_result(found[topic])
        except Exception as error:
            failure = broker_error(error, self._config, "describe topics")
            for future in asked.values():
                if not future.done():
                    future.set_exception(failure)
                    future.exception()  # perhaps no caller waits any more

    async def ensure(self, specs: Collection[TopicSpec]) -> None:
        """Create the missing topics, and wait until each partition has a leader. Raises BrokerError.

        Warns of existing topics that are not fit for requests.
        """
        missing = [spec for spec in specs if not await self._exists(spec)]
        if missing:
            await self._create(missing)
        await self._wait_for_leaders(specs)
        try:
            faults = await self.faults(
                [spec.name for spec in specs if spec not in missing and not spec.compacted]
            )
        except BrokerError as error:
            log.debug("The settings of the topics could not be checked: %s", error)
        else:
            for fault in faults:
                log.warning("%s", fault)

    async def faults(self, topics: Collection[str]) -> list[str]:
        """What is wrong with these topics, as far as this user may see it."""
        if not topics:
            return []
        admin = AIOKafkaAdminClient(**connection_arguments(self._config))
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        try:
            async with bounded(self._config, admin._client, "describe topics", look_up_s(self._config)):
                await admin.start()
                responses = await admin.describe_configs(resources)
                described = await admin.describe_topics(list(topics))
        except KafkaError as error:
            raise broker_error(error, self._config, "describe topics") from error
        finally:
            await admin.close()
        replicas = {
            topic["topic"]: min((len(part["replicas"]) for part in topic["partitions"]), default=1 << 15)
            for topic in described
        }
        return unfit(configs_of(responses), replicas)

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
        topics = [_new_topic(spec) for spec in specs]
        try:
            async with bounded(self._config, admin._client, "create topics", look_up_s(self._config)):
                await admin.start()
                await _wait_for_controller(admin)
                response = await admin._send_to_controller(CreateTopics(topics, CREATE_TIMEOUT_MS))
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

    async def _describe(self, topics: list[str]) -> dict[str, Described]:
        """What the brokers know of these topics: a busy one may not know yet that a topic was made."""
        if not topics:
            return {}
        found = _described(await self._send(_request(topics)))
        client = self._producers.current.client
        brokers = client.cluster.brokers()
        for broker in brokers if len(brokers) > 1 else ():
            unknown = [topic for topic, (error, _) in found.items() if error is UnknownTopicOrPartitionError]
            if not unknown:
                break
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(OTHER_BROKER_S):
                    found |= _described(await client.send(broker.nodeId, _request(unknown)))
        return found

    async def _send(self, request: MetadataRequest) -> Any:
        client = self._producers.current.client
        limit_s = self._config.connect_timeout_ms / 1e3
        async with bounded(self._config, client, "describe topics", limit_s):
            while True:
                try:
                    client = self._producers.current.client
                    return await client.send(client.get_random_node(), request)
                except KafkaError as error:
                    if not error.retriable:
                        raise broker_error(error, self._config, "describe topics") from error
                await asyncio.sleep(BACKOFF_S)


def _request(topics: list[str]) -> MetadataRequest:
    return MetadataRequest(topics, allow_auto_topic_creation=False)


def _described(response: Any) -> dict[str, Described]:
    return {
        topic["topic"]: (for_code(topic["error_code"]), [part["leader"] >= 0 for part in topic["partitions"]])
        for topic in response.to_object()["topics"]
    }


def _new_topic(spec: TopicSpec) -> tuple[Any, ...]:
    """Name, partitions, replication, assignment of replicas (left to the brokers), settings."""
    configs = dict(RELIED_ON)
    if spec.compacted:
        configs |= KEPT_BY_KEY
    if spec.retention_ms is not None:
        configs["retention.ms"] = str(spec.retention_ms)
    return spec.name, spec.new_partitions, spec.replication, [], list(configs.items())


async def _wait_for_controller(admin: AIOKafkaAdminClient) -> None:
    """Wait until the broker reports a controller."""
    # A broker that has just started reports none, and aiokafka then fails on a None.
    for _ in range(ATTEMPTS):
        if admin._client.cluster.controller is not None:
            return
        await asyncio.sleep(BACKOFF_S)
        await admin._client.force_metadata_update()
    raise BrokerError("Kafka has no controller to create topics: check that its controller quorum is up.")
