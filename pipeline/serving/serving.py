"""Everything that serves one task in a process: it starts, drains and ends as one."""

import asyncio
from collections.abc import Sequence

from ..broker.base import Broker, TopicSpec
from ..delivery.worker import Worker
from ..engine.engine import Engine
from ..telemetry import Metrics


class Serving:
    """The engine and the workers of one task. `run` it until `drain`."""

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        workers: Sequence[Worker],
        specs: Sequence[TopicSpec],
        metrics: Metrics,
    ) -> None:
        """``specs``: topics to create. The first of ``workers`` answers requests, the others retries."""
        self.engine = engine
        self.worker = workers[0]
        self.metrics = metrics
        self._broker = broker
        self._workers = workers
        self._specs = specs

    @property
    def ready(self) -> bool:
        """Whether the worker has joined its group and is not draining."""
        return self.worker.ready

    @property
    def stopped(self) -> bool:
        """Whether the breaker is open: no requests are read. A trial closes it, so `ready` stays true."""
        return self.worker.breaker is not None and self.worker.breaker.is_open

    def drain(self) -> None:
        """Read nothing more and finish what runs; then `run` returns."""
        for worker in self._workers:
            worker.drain()

    async def run(self) -> None:
        """Create the topics, serve, drain.

        Raises BrokerError, or an ExceptionGroup of what ended one of the workers.
        """
        await self._broker.ensure_topics(self._specs)
        async with self.engine, asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(worker.run())
