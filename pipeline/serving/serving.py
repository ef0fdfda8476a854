"""A worker with all that it is made of, from its topics to its end."""

import asyncio
from collections.abc import Sequence

from ..broker.base import Broker, TopicSpec
from ..delivery.worker import Worker
from ..engine.engine import Engine
from ..telemetry import Metrics


class Serving:
    """One worker with all that it is made of. `run` it until `drain`."""

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        workers: Sequence[Worker],
        specs: Sequence[TopicSpec],
        metrics: Metrics,
    ):
        """The first of ``workers`` answers requests; they all start and drain together."""
        self._broker, self._engine, self._specs = broker, engine, specs
        self._workers, self.worker, self.metrics = workers, workers[0], metrics

    @property
    def ready(self) -> bool:
        """Whether requests are being read."""
        return self.worker.ready

    @property
    def stopped(self) -> bool:
        """Whether none are read because too many became dead letters. This ends by itself, so `ready` holds."""
        return self.worker.breaker is not None and self.worker.breaker.is_open

    def drain(self) -> None:
        """Take nothing new and finish what runs; then `run` returns."""
        for worker in self._workers:
            worker.drain()

    async def run(self) -> None:
        """Create the topics, serve, drain. Raises BrokerError, or whatever ended a part that others need."""
        await self._broker.ensure_topics(self._specs)
        async with self._engine, asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(worker.run())
