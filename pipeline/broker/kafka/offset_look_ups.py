"""Looks up offsets of partitions: the oldest, the end, the one of a time. Each look-up has a time limit."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from ...config import KafkaConfig
from ..base import TopicPartition
from .connection import broker_error
from .reaching import bounded, look_up_s
from .rebalances import for_kafka

LookUp = Callable[[Collection[KafkaPartition]], Awaitable[Mapping[KafkaPartition, int]]]


class OffsetLookUps:
    """See `begin_offsets`, `end_offsets` and `offsets_at` of `Consumer` in `base`."""

    def __init__(self, consumer: Any, config: KafkaConfig) -> None:
        self._consumer = consumer
        self._config = config

    async def begins(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._bounds(self._consumer.beginning_offsets, partitions)

    async def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._bounds(self._consumer.end_offsets, partitions)

    async def at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        if not times_ms:
            return {}
        times = {KafkaPartition(*at): max(0, time_ms) for at, time_ms in times_ms.items()}
        doing = "read the offsets of a time"
        try:
            async with bounded(self._config, self._consumer._client, doing, look_up_s(self._config)):
                found = await self._consumer.offsets_for_times(times)
        except KafkaError as error:
            raise broker_error(error, self._config, doing) from error
        offsets = {TopicPartition(*at): one.offset for at, one in found.items() if one is not None}
        newer = times_ms.keys() - offsets.keys()
        return {**offsets, **(await self.ends(newer) if newer else {})}

    async def _bounds(
        self, look_up: LookUp, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        doing = "read the offsets of partitions"
        try:
            async with bounded(self._config, self._consumer._client, doing, look_up_s(self._config)):
                bounds = await look_up(for_kafka(partitions))
        except KafkaError as error:
            raise broker_error(error, self._config, doing) from error
        return {TopicPartition(*at): offset for at, offset in bounds.items()}
