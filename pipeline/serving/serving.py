"""Everything that serves tasks in a process: it starts, drains and ends as one."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..broker.base import Broker, TopicSpec
from ..delivery.members import Members
from ..delivery.worker import Worker
from ..engine.engine import Engine
from ..telemetry import WorkerMetrics
from .releases.follower import Follower


class TaskWorkers(NamedTuple):
    """The workers of one task: one answers requests, the others return what is retried.

    ``specs``: topics to create. ``members``: of its group.
    """

    task: str
    worker: Worker
    returners: Sequence[Worker]
    specs: Sequence[TopicSpec]
    members: Members


class Serving:
    """An engine and the workers of its tasks. `run` it until `drain`."""

    def __init__(
        self,
        broker: Broker,
        engine: Engine,
        of_tasks: Sequence[TaskWorkers],
        metrics: WorkerMetrics,
        follower: Follower | None = None,
    ) -> None:
        """``follower``: of the aliases that the models are named by, if there are any."""
        self.engine = engine
        self.of_tasks = of_tasks
        self.metrics = metrics
        self.follower = follower
        self._broker = broker

    @property
    def worker(self) -> Worker:
        """The worker that answers the requests of the first task."""
        return self.of_tasks[0].worker

    @property
    def name(self) -> str:
        """The tasks, joined by hyphens."""
        return "-".join(one.task for one in self.of_tasks)

    @property
    def ready(self) -> bool:
        """Whether the workers of all tasks have joined their groups and are not draining."""
        return all(one.worker.ready for one in self.of_tasks)

    @property
    def stopped(self) -> list[str]:
        """The tasks whose breaker is open: their requests are not read. A trial closes it, so `ready` stays true."""
        return [one.task for one in self.of_tasks if one.worker.breaker and one.worker.breaker.is_open]

    @property
    def running(self) -> int:
        """Requests of all tasks that are read and not answered."""
        return sum(one.worker.window.running for one in self.of_tasks)

    def drain(self) -> None:
        """Read nothing more and finish what runs; then `run` returns."""
        for worker in self._workers():
            worker.drain()

    async def run(self) -> None:
        """Create the topics, serve, drain.

        Raises BrokerError, or an ExceptionGroup of what ended the engine or one of the workers.
        """
        await self._broker.ensure_topics([spec for one in self.of_tasks for spec in one.specs])
        async with self.engine, asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(self.engine.watch())]
            if self.follower is not None:
                background.append(tasks.create_task(self.follower.run()))
            async with asyncio.TaskGroup() as workers:
                for worker in self._workers():
                    workers.create_task(worker.run())
            for one in background:
                one.cancel()

    def _workers(self) -> Iterator[Worker]:
        for one in self.of_tasks:
            yield one.worker
            yield from one.returners
