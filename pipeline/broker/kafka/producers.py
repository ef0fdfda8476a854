"""The aiokafka producer in use, and its replacement when the broker refused a batch."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from ...config import KafkaConfig
from .connection import connection_arguments

BATCH_BYTES: Final = 256 * 1024
"""So large that a partition's share of tens of thousands of records a second fits into one request a millisecond."""
STOP_TIMEOUT_S: Final = 2.0


class Producers:
    """Holds the idempotent producer that new batches go to.

    A batch that the broker refuses has used up sequence numbers, so that all later batches of the same partition
    would fail as out of sequence. A new producer begins new sequences; what the old one has in flight on other
    partitions ends there, and `stop` waits for it.
    """

    def __init__(self, config: KafkaConfig, on_metadata: Callable[[Any], None]) -> None:
        """``on_metadata`` is called with aiokafka's ClusterMetadata whenever it was refreshed."""
        self._arguments = connection_arguments(config)
        self._on_metadata = on_metadata
        self._replacing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self.current: Any = None

    async def start(self) -> None:
        """Connect and obtain a producer id. Raises aiokafka's KafkaError, leaving nothing open."""
        self.current = await self._started()

    async def replace(self, used: Any) -> None:
        """See to it that ``used`` is no longer the current producer."""
        async with self._replacing:
            if self.current is used:
                self.current = await self._started()
                task = asyncio.create_task(_stop(used))
                self._retired.add(task)
                task.add_done_callback(self._retired.discard)

    async def stop(self) -> None:
        """Disconnect. What is still not acknowledged after 2 s is given up."""
        await asyncio.gather(_stop(self.current), *self._retired)

    async def _started(self) -> Any:
        producer = AIOKafkaProducer(
            **self._arguments, enable_idempotence=True, acks="all", max_batch_size=BATCH_BYTES
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        producer.client.cluster.add_listener(self._on_metadata)
        return producer


async def _stop(producer: Any) -> None:
    # It waits for its last acknowledgement for ever, and closes the connections only then.
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
    except TimeoutError:
        await producer.client.close()
