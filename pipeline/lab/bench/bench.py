"""Starts the systems that are compared, each on topics of its own on one Kafka, and ends them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, Self

from msgspec.structs import replace

from ....schemas.topics import Topics
from ...broker.base import Broker
from ...broker.kafka.broker import KafkaBroker
from ...config import KafkaConfig
from ...serving.topics import topic_specs
from ...tasks.triage.definition import TRIAGE
from .processes import ProcessGroup, SystemProcess, end_all
from .system import System

Command = Callable[[KafkaConfig], list[str]]
"""The command line of a system, for a Kafka and a topic prefix."""


class Progress(Protocol):
    """Shows how far the run is."""

    def begin(self, turns: int) -> None:
        """The run has this many turns."""
        ...

    def turn(self, what: str) -> None:
        """The next turn begins; ``what`` is measured in it."""
        ...


class Bench:
    """One Kafka, and the systems started on it. ``folder`` is for logs and caches."""

    def __init__(self, kafka: KafkaConfig, broker: Broker, folder: Path, task: str) -> None:
        self._kafka = kafka
        self._task = task
        self._broker = broker
        self.folder = folder
        self._prefix = f"bench.{time.time_ns()}"
        self._processes: list[SystemProcess] = []
        self._systems: list[System] = []

    @classmethod
    @asynccontextmanager
    async def connected(cls, kafka: KafkaConfig, folder: Path, task: str = TRIAGE) -> AsyncIterator[Self]:
        """A bench of this task on this Kafka; ends all systems that it has started, also after an error or Ctrl-C."""
        async with KafkaBroker(kafka) as broker:
            bench = cls(kafka, broker, folder, task)
            try:
                yield bench
            finally:
                end_all(bench._processes)
                for system in bench._systems:
                    await system.close()

    async def start(
        self, commands: Mapping[str, Command], text: str, workers: Mapping[str, int] | None = None
    ) -> dict[str, System]:
        """Start these systems side by side; return when each has answered ``text``.

        ``workers``: how many processes a system has, 1 where it does not say.
        """
        counts = workers or {}
        systems = {
            name: await self._start(name, command, counts.get(name, 1)) for name, command in commands.items()
        }
        async with asyncio.TaskGroup() as tasks:
            for system in systems.values():
                tasks.create_task(system.ready(text))
        return systems

    async def _start(self, name: str, command: Command, workers: int) -> System:
        kafka = replace(self._kafka, topic_prefix=f"{self._prefix}.{name}")
        topics = Topics(self._task, kafka.topic_prefix)
        await self._broker.ensure_topics(topic_specs(topics, kafka))
        replies = await self._broker.consume([topics.replies])
        logs = [self.folder / f"{name}-{number}.log" for number in range(workers)]
        processes = [SystemProcess(command(kafka), log) for log in logs]
        self._processes += processes
        system = System(ProcessGroup(processes), self._broker, topics, replies)
        self._systems.append(system)
        return system
