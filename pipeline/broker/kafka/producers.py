"""The aiokafka producer in use, and its replacement after the broker has refused a batch."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from ...config import KafkaConfig
from .connection import connection_arguments, never_creating
from .reaching import bounded
from .skew import ClockSkew

BATCH_BYTES: Final = 256 * 1024
"""Enough for tens of thousands of records per second to one partition, in 1 000 requests per second."""
STOP_TIMEOUT_S: Final = 2.0


class Producers:
    """The idempotent producer for new batches.

    A batch that the broker refuses has used sequence numbers, so all later batches of the same
    partition would fail with OutOfOrderSequenceNumber. A new producer starts new sequences. The old
    one finishes its batches on other partitions, and `stop` waits for it.
    """

    def __init__(self, config: KafkaConfig, on_metadata: Callable[[Any], None]) -> None:
        """``on_metadata`` is called with aiokafka's ClusterMetadata after each refresh."""
        self._config = config
        self._arguments = connection_arguments(config)
        self._on_metadata = on_metadata
        self._replacing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self.current: Any = None
        self.skew = ClockSkew()

    async def start(self) -> None:
        """Connect and get a producer id, once.

        If it raises BrokerError or aiokafka's KafkaError, nothing is left open.
        """
        async with self._replacing:
            if self.current is None:
                self.current = await self._started()

    async def replace(self, used: Any) -> None:
        """Replace the producer ``used``, unless another caller has already done so."""
        async with self._replacing:
            if self.current is used:
                self.current = await self._started()
                task = asyncio.create_task(_stop(used))
                self._retired.add(task)
                task.add_done_callback(self._retired.discard)

    async def stop(self) -> None:
        """Disconnect. Batches that are not acknowledged within 2 s are dropped."""
        if self.current is not None:
            await asyncio.gather(_stop(self.current), *self._retired)

    async def _started(self) -> Any:
        producer = AIOKafkaProducer(
            **self._arguments, enable_idempotence=True, acks="all", max_batch_size=BATCH_BYTES
        )
        never_creating(producer.client)
        limit_s = self._config.connect_timeout_ms / 1e3
        try:
            async with bounded(self._config, producer.client, "publish", limit_s):
                await producer.start()
        except BaseException:
            await _stop(producer)
            raise
        producer.client.cluster.add_listener(self._on_metadata)
        return producer


async def _stop(producer: Any) -> None:
    # aiokafka's stop() waits without limit for the last acknowledgement before it closes the
    # connections.
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
    except TimeoutError:
        await producer.client.close()
