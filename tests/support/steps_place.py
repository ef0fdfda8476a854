"""A broker, and worker processes that serve the task `steps` on it."""

import asyncio
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.schemas.codec import decode_reply
from inferstream.schemas.messages import Chunk, Reply
from inferstream.schemas.topics import Topics
from support.processes import Processes
from support.steps_worker import broker_at


class Place:
    """A broker, and worker processes that serve the task `steps` on it."""

    def __init__(self, where: str, broker: Broker, topics: Topics) -> None:
        self.broker = broker
        self.topics = topics
        self._where = where
        self._processes = Processes()
        self.stop = self._processes.stop

    def start(self, *notes: str) -> "subprocess.Popen[bytes]":
        """Start a worker; ``notes`` may be the folder of its crash note."""
        return self._processes.start("steps_worker", self._where, self.topics.prefix, *notes)

    def start_loud(self) -> "subprocess.Popen[bytes]":
        """Start a worker that makes other pieces of the same requests: capitals."""
        return self._processes.start("loud_steps_worker", self._where, self.topics.prefix)

    async def ready(self) -> None:
        """Wait until a worker has made the topics."""
        while await self.broker.partitions(self.topics.cancels) is None:  # noqa: ASYNC110 - no broker tells it
            await asyncio.sleep(0.05)

    async def chunks(self) -> list[Chunk]:
        """All chunks that were told."""
        reader = await self.broker.consume([self.topics.replies])
        replies: list[Reply] = []
        while records := await reader.poll(1_000, 300):
            replies += [decode_reply(record.value) for record in records]
        await reader.close()
        return [one for one in replies if isinstance(one, Chunk)]

    async def report(self) -> AuditReport:
        return await audit(self.broker, Audited(self.topics), clock=time.time)


@asynccontextmanager
async def a_place(where: str, prefix: str, patience_s: float) -> AsyncGenerator[Place]:
    """A place on this broker, without workers; its test may take ``patience_s``."""
    async with asyncio.timeout(patience_s), broker_at(where) as broker:
        found = Place(where, broker, Topics("steps", prefix))
        try:
            yield found
        finally:
            await asyncio.to_thread(found.stop)
