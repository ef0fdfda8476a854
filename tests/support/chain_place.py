"""A broker, and worker processes on it that serve the steps of a chain."""

import asyncio
import subprocess
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.config import Config
from inferstream.pipeline.ops.audit.auditor import audit
from inferstream.pipeline.ops.audit.facts import Audited
from inferstream.pipeline.ops.audit.report import AuditReport
from inferstream.schemas.topics import Topics
from support.processes import Processes
from support.steps_worker import broker_at


class ChainPlace:
    """On Kafka each task of the chain has processes of its own; a folder has one for all.

    Attributes:
        served: what each worker process serves.
    """

    def __init__(
        self, where: str, broker: Broker, config: Config, program: str, tasks: Sequence[str]
    ) -> None:
        """``config`` declares one chain of these ``tasks``; ``program`` of `support` serves them."""
        (self.chain,) = config.chains
        self.broker = broker
        self.config = config
        self.topics = Topics(self.chain, config.kafka.topic_prefix)
        self.served = [",".join(tasks)] if "/" in where else list(tasks)
        self._where = where
        self._program = program
        self._last = len(tasks)
        self._processes = Processes()
        self.stop = self._processes.stop

    def start(self, served: str, *ending: str) -> "subprocess.Popen[bytes]":
        return self._processes.start(self._program, self._where, self.topics.prefix, served, *ending)

    async def ready(self) -> None:
        """Wait until workers have made the topics: the one of the caller's replies is not the last."""
        wanted = [self.topics.replies, self.topics.cancels, self.topics.of_step(self._last).retry("1s")]
        for topic in wanted:
            while await self.broker.partitions(topic) is None:  # noqa: ASYNC110 - no broker tells it
                await asyncio.sleep(0.05)

    async def report(self) -> AuditReport:
        return await audit(self.broker, Audited.of(self.chain, self.config), clock=time.time)


@asynccontextmanager
async def a_chain_place(
    where: str, config: Config, program: str, tasks: Sequence[str], patience_s: float
) -> AsyncGenerator[ChainPlace]:
    """A place on this broker, without workers; its test may take ``patience_s``."""
    async with asyncio.timeout(patience_s), broker_at(where) as broker:
        found = ChainPlace(where, broker, config, program, tasks)
        try:
            yield found
        finally:
            await asyncio.to_thread(found.stop)
