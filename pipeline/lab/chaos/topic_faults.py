"""Faults of topics and of records that do not come from our clients."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ...broker.base import Broker, Consumer, TopicSpec
from .request_log import RequestLog
from .strangers import bomb, delete_topics, send_batch

OWN_REPLY_TOPICS: Final = 10
"""Of the reply topics that requests name, the first ones are made at times."""

APPLIED_S: Final = 2.0
"""For this time some brokers may not know that a topic was made or deleted."""


class TopicFaults:
    """Makes and deletes topics; sends batches that no client of ours can send."""

    def __init__(
        self,
        broker: Broker,
        bootstrap: str,
        specs: Sequence[TopicSpec],
        log: RequestLog,
        replies: Consumer,
        read: Callable[[Consumer], Awaitable[None]],
    ) -> None:
        """``specs`` are the task's topics, requests first, replies second.

        ``replies`` reads the task's replies for the log; ``read`` reads others until it is cancelled.
        """
        self._broker = broker
        self._bootstrap = bootstrap
        self._specs = specs
        self._log = log
        self._replies = replies
        self._read = read
        self._bomb = b""

    async def prepare(self) -> None:
        """Make the bomb before the load: that takes a core for a second."""
        self._bomb = await asyncio.to_thread(bomb)

    @property
    def partitions(self) -> int:
        """The number of partitions of each topic."""
        return self._specs[0].new_partitions

    async def make_reply_topics(self, seconds: float) -> None:
        """Reply topics exist for a while; requests name them before, then and afterwards."""
        suffixes = [f"own-{number}" for number in range(OWN_REPLY_TOPICS)]
        await self._exist([f"{self._specs[1].name}.{suffix}" for suffix in suffixes], seconds)
        self._log.forget_replies(suffixes)

    async def make_other_topics(self, seconds: float) -> None:
        """The same with topics that no request names: what Kafka needs for that, and no worker."""
        prefix = self._specs[1].name.partition(".")[0]
        await self._exist([f"{prefix}.others.{number}" for number in range(OWN_REPLY_TOPICS)], seconds)

    async def _exist(self, names: Sequence[str], seconds: float) -> None:
        replies = self._specs[1]
        await self._broker.ensure_topics([replies._replace(name=name, partitions=1) for name in names])
        await asyncio.sleep(APPLIED_S)
        reader = await self._broker.consume(names)
        reading = asyncio.ensure_future(self._read(reader))
        await asyncio.sleep(seconds)
        reading.cancel()
        await reader.close()
        await delete_topics(self._bootstrap, names)
        await asyncio.sleep(APPLIED_S)

    async def remake_topics(self) -> None:
        """Delete all topics of the task at once, and make them again."""
        names = [spec.name for spec in self._specs]
        await delete_topics(self._bootstrap, names)
        await asyncio.sleep(APPLIED_S)
        await self._broker.ensure_topics(self._specs)
        self._log.forget_open()
        await self._replies.seek(dict.fromkeys(self._replies.assignment(), 0))

    async def send_bomb(self, pick: float) -> int:
        """Send a bomb to a partition of the request topic. Returns its number."""
        if not self._bomb:
            await self.prepare()
        partition = int(pick * self.partitions)
        await send_batch(self._bootstrap, self._specs[0].name, partition, self._bomb)
        return partition
