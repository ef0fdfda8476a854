"""The broker without a server: a log on disk, which survives the process."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from ..base import Listener, Message, TopicPartition, TopicSpec
from ..refusals import no_topic
from .consumer import EmbeddedConsumer
from .database import Database
from .group import Group, GroupMember
from .log import Log
from .publisher import EmbeddedPublisher
from .retention import Retention, steady_time_ms
from .topics import TopicTable


def unix_time_ms() -> int:
    return time.time_ns() // 1_000_000


class EmbeddedBroker:
    """See `Broker` in `base`.

    Other processes may open the same directory at the same time, to publish and to read without a
    group. All members of one consumer group must be in one process. Acknowledged records survive
    the end of the process, also by a kill.
    """

    _database: Database
    _topics: TopicTable
    _log: Log
    _publisher: EmbeddedPublisher

    def __init__(
        self,
        directory: Path | None = None,
        *,
        rebalance_timeout_ms: int = 15_000,
        clock_ms: Callable[[], int] = unix_time_ms,
        steady_ms: Callable[[], int] = steady_time_ms,
    ) -> None:
        """Without a directory the log is temporary. The clocks are those of `Retention`."""
        self._directory = directory
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._clock_ms = clock_ms
        self._steady_ms = steady_ms
        self._exit = AsyncExitStack()
        self._groups: dict[str, Group] = {}
        self._consumers: list[EmbeddedConsumer] = []

    @property
    def directory(self) -> Path:
        """Where the log is; available inside ``async with``."""
        return self._database.directory

    async def __aenter__(self) -> Self:
        """Open or create the log. Raises BrokerError if that fails."""
        async with AsyncExitStack() as stack:
            directory = self._directory or _temporary_directory(stack)
            self._database = Database(directory)
            stack.push_async_callback(self._database.close)
            await self._database.open()
            self._topics = TopicTable(self._database)
            retention = Retention(self._database, self._clock_ms, self._steady_ms)
            self._log = Log(self._database, self._topics, retention, self._clock_ms)
            await self._database.run(retention.run)
            self._publisher = EmbeddedPublisher(self._database, self._log)
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
        joined = None if group is None else self._group(group)
        consumer = EmbeddedConsumer(self._database, self._log, GroupMember(counts, listener), joined)
        self._consumers.append(consumer)
        try:
            await consumer.start(latest=start == "latest")
        except BaseException:
            await consumer.close()
            raise
        return consumer

    async def ensure_topics(self, specs: Collection[TopicSpec]) -> None:
        await self._database.run(self._topics.ensure, specs)

    async def partitions(self, topic: str) -> int | None:
        return len(await self._database.run(self._topics.ids, topic)) or None

    async def trim(self, offsets: dict[TopicPartition, int]) -> None:
        """Delete the records before these offsets, as retention does."""
        await self._database.run(self._log.trim, offsets)

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(
                name,
                self._database,
                self._topics,
                self._rebalance_timeout_ms,
                temporary=self._directory is None,
            )
        return self._groups[name]

    async def _count(self, topic: str) -> int:
        count = await self.partitions(topic)
        if count is None:
            raise no_topic(topic)
        return count


def _temporary_directory(stack: AsyncExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inferstream-")))
