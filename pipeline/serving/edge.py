"""A pipeline in one process: embedded broker, worker, client; the same parts as on Kafka."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from ...schemas.topics import Topics
from ..broker.embedded.broker import EmbeddedBroker
from ..client.client import Client
from ..config import Config
from .build import build_worker, topic_specs
from .serving import Serving


class Edge:
    """``async with Edge() as client`` serves a task in this process and gives a client of it.

    Args:
        config: the settings; their Kafka address is not used.
        directory: keeps the topics, so that a restart answers the requests that were left. Without
            a directory the topics end with the process.
        task: the task to serve.
        models: names to serve, the first is the default; the models of the settings if empty.

    Entering raises UnknownModel, ModelError or ProviderUnavailable; leaving raises the error that
    ended the worker.
    """

    broker: EmbeddedBroker
    serving: Serving

    def __init__(
        self,
        config: Config | None = None,
        directory: Path | None = None,
        *,
        task: str = "triage",
        models: Sequence[str] = (),
    ) -> None:
        self._config = config or Config()
        self._directory = directory
        self._task = task
        self._models = models
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Client:
        async with AsyncExitStack() as stack:
            self.broker = await stack.enter_async_context(EmbeddedBroker(self._directory))
            self.serving = await asyncio.to_thread(
                build_worker, self._config, self.broker, self._task, models=self._models
            )
            topics = Topics(self._task, self._config.kafka.topic_prefix)
            await self.broker.ensure_topics(topic_specs(topics, self._config.kafka))
            running = asyncio.create_task(self.serving.run())
            stack.push_async_callback(self._finish, running)
            client = await stack.enter_async_context(Client(broker=self.broker, prefix=topics.prefix))
            running.add_done_callback(lambda _: client.abandon())
            self._stack = stack.pop_all()
        return client

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def _finish(self, running: "asyncio.Task[None]") -> None:
        self.serving.drain()
        await running
