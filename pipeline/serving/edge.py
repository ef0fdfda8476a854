"""A pipeline in one process: embedded broker, worker, client; the same parts as on Kafka."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..broker.embedded.broker import EmbeddedBroker
from ..client.arguments import shown
from ..client.client import Client
from ..config import Config
from ..errors import UsageError
from ..extras import missing_extra
from ..tasks.catalogue import OURS

if TYPE_CHECKING:  # a plain install has no packages to serve with
    from .serving import Serving


def _check(config: object, directory: object, models: object, tasks: object) -> None:
    """Raise UsageError for an argument of an Edge that may not be so."""
    if not isinstance(config, Config | None):
        raise UsageError(
            f"`config` must be settings, as `load_config` returns, not {shown(config)}: name a task by task=…."
        )
    if not isinstance(directory, str | Path | None):
        raise UsageError(f"`directory` must be a folder, not {shown(directory)}.")
    if tasks is not None and not isinstance(tasks, Mapping):
        raise UsageError(
            "`tasks` must be a dict from tasks to the names of their models, as in {'triage': []}, "
            f"not {shown(tasks)}."
        )
    for names in (models, *(tasks or {}).values()):
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise UsageError(
                f"The models of a task must be a list of names, not {shown(names)}: write ['minilm']."
            )


class Edge:
    """``async with Edge() as client`` serves tasks in this process and gives a client of them.

    Args:
        config: the settings; their Kafka address is not used.
        directory: keeps the topics, so that a restart answers the requests that were left. Without
            a directory the topics end with the process.
        task: the task to serve; the first of ours if none is given.
        models: names of its models, the first is the default; the model of the settings if empty.
        tasks: instead of both, several tasks, each with the names of its models.

    Serving needs the extra `cpu` or `gpu`: without it, and for a wrong argument, `Edge` raises UsageError.
    Entering raises UnknownModel, ModelError or ProviderUnavailable; leaving raises the error that
    ended the worker.
    """

    broker: EmbeddedBroker
    serving: "Serving"

    def __init__(
        self,
        config: Config | None = None,
        directory: Path | str | None = None,
        *,
        task: str | None = None,
        models: Sequence[str] = (),
        tasks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if tasks is not None and (not tasks or task or models):
            raise UsageError("Give an Edge either `tasks`, at least one, or `task` and `models`.")
        _check(config, directory, models, tasks)
        try:
            from .build import build_worker
        except ModuleNotFoundError as error:
            raise missing_extra(error, "Edge") or error from None
        self._build_worker = build_worker
        self._config = config or Config()
        self._directory = None if directory is None else Path(directory)
        self._served = tasks or {task or OURS[0].name: models}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Client:
        async with AsyncExitStack() as stack:
            self.broker = await stack.enter_async_context(EmbeddedBroker(self._directory))
            self.serving = await asyncio.to_thread(
                self._build_worker, self._config, self.broker, self._served
            )
            for one in self.serving.of_tasks:
                await self.broker.ensure_topics(one.specs)
            running = asyncio.create_task(self.serving.run())
            stack.push_async_callback(self._finish, running)
            client = await stack.enter_async_context(
                Client(broker=self.broker, prefix=self._config.kafka.topic_prefix)
            )
            running.add_done_callback(lambda _: client.abandon())
            self._stack = stack.pop_all()
        return client

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def _finish(self, running: "asyncio.Task[None]") -> None:
        self.serving.drain()
        await running
