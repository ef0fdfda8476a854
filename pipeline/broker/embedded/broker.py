"""The Broker in one process, without a server: a log on disk that survives the process."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from ..base import Listener, Message, TopicPartition, TopicSpec
from .consumer import EmbeddedConsumer
from .group import Group
from .publisher import Publisher
from .storage import Storage
from .topics import no_topic


def unix_time_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedBroker:
    """See `Broker` in `base`.

    Other processes may open the same directory at the same time, to publish and to read. What is published survives
    the end of the process, however it ends. All members of one consumer group belong to one EmbeddedBroker.
    """

    _storage: Storage
    _publisher: Publisher

    def __init__(
        self,
        directory: Path | None = None,
        *,
        rebalance_timeout_ms: int = 15_000,
        clock_ms: Callable[[], int] = unix_time_ms,
    ) -> None:
        """Without a directory the log is temporary. ``clock_ms`` tells the Unix time in milliseconds."""
        self._directory = directory
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._clock_ms = clock_ms
        self._exit = AsyncExitStack()
        self._groups: dict[str, Group] = {}
        self._consumers: list[EmbeddedConsumer] = []

    @property
    def directory(self) -> Path:
        """Where the log is; known inside ``async with``."""
        return self._storage.database.directory

    async def __aenter__(self) -> Self:
        """Open or create the log. Raises BrokerError when that cannot be."""
        async with AsyncExitStack() as stack:
            directory = self._directory or _temporary_directory(stack)
            self._storage = Storage(directory, self._clock_ms)
            stack.push_async_callback(self._storage.database.close)
            await self._storage.database.open()
            await self._storage.database.run(self._storage.log.retain)
            self._publisher = Publisher(self._storage.database, self._storage.log, self._storage.notify)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        async with self._exit:
            for consumer in self._consumers:
                await consumer.close()
            await self._publisher.flush()

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
    ) -> EmbeddedConsumer:
        counts = {topic: await self._count(topic) for topic in topics}
        consumer = EmbeddedConsumer(self._storage, counts, group, listener)
        self._consumers.append(consumer)
        try:
            if group is None:
                await consumer.read(latest=start == "latest")
            else:
                await consumer.join(self._group(group))
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def ensure_topics(self, specs: Collection[TopicSpec]) -> None:
        await self._storage.database.run(self._storage.topics.ensure, specs)

    async def partitions(self, topic: str) -> int | None:
        return len(await self._storage.database.run(self._storage.topics.ids, topic)) or None

    async def trim(self, offsets: dict[TopicPartition, int]) -> None:
        """Delete the records before these offsets."""
        await self._storage.database.run(self._storage.log.trim, offsets)

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(name, self.directory, self._rebalance_timeout_ms)
        return self._groups[name]

    async def _count(self, topic: str) -> int:
        count = await self.partitions(topic)
        if count is None:
            raise no_topic(topic)
        return count


def _temporary_directory(stack: AsyncExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inferstream-")))
