"""The partitions of a consumer, and how a rebalance changes them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.abc import ConsumerRebalanceListener

from ..base import Listener, TopicPartition

Tell = Callable[[Collection[TopicPartition]], Awaitable[None]]


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Which partitions are assigned, which of them are paused, and whether a rebalance is running."""

    def __init__(self, consumer: Any, listener: Listener | None, tell: Tell) -> None:
        """``tell`` is awaited with each assignment, before its first record is returned."""
        self._consumer = consumer
        self._listener = listener
        self._tell = tell
        self._told: frozenset[TopicPartition] = frozenset()
        self.assigned: frozenset[TopicPartition] = frozenset()
        self.paused: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        """The next offset of each partition that has returned records or was sought."""
        self.generation = 0
        """See `Consumer.generation`."""
        self.settled = asyncio.Event()
        """Not set during a rebalance."""
        self.failure: Exception | None = None

    async def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        self.settled.clear()
        try:
            if self._listener is not None and self.assigned:
                await self._listener.revoked(self.assigned)
        except Exception as error:
            # aiokafka would only log it, and the worker would continue with a window that is not
            # drained.
            self.failure = error
        finally:
            self.assigned = frozenset()
            self.positions.clear()

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        given = frozenset(TopicPartition(*partition) for partition in assigned)
        try:
            await self._tell(given - self._told)
            self._told = given
            self.assigned = given
            # A reader without a group has a coordinator without generations.
            self.generation = max(0, getattr(self._consumer._coordinator, "generation", 0))
            # aiokafka forgets in a rebalance which partitions were paused, also of those that stay.
            self.paused &= self.assigned
            self._consumer.pause(*for_kafka(self.paused))
            if self._listener is not None:
                await self._listener.assigned(self.assigned)
        except Exception as error:
            self.failure = error
        finally:
            self.settled.set()


def for_kafka(partitions: Iterable[TopicPartition]) -> list[Any]:
    """aiokafka accepts only its own class."""
    return [KafkaPartition(*partition) for partition in partitions]
