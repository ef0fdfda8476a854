"""One rollout of a candidate with a fault, from the change of the alias to its rollback by itself."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from ....schemas.topics import Topics
from ...broker.kafka.broker import KafkaBroker
from ...config import Config
from ...errors import InferstreamError
from ...models.releases.alias import AliasState, Change, Rollout, promoted, tried
from ...models.releases.registry.opening import open_registry
from ...models.releases.registry.store import ReleaseStore
from ..worker_process import WorkerProcess
from .load import TicketLoad
from .versions import CANDIDATE, STABLE, VersionFault
from .worker import ALIAS, TASK, command

START_S: Final = 60.0


class TrialResult(Struct, frozen=True):
    """What came of a rollout.

    ``seconds``: until the alias was rolled back; None if it was not.
    """

    seconds: float | None
    reason: str
    requests: int
    lost: int
    twice: int
    failures: int
    of_candidate: int
    history: Sequence[AliasState]


class TrialRun:
    """Workers, their registry and the load. Use it with ``async with``."""

    def __init__(
        self,
        config: Config,
        fault: VersionFault,
        folder: Path,
        workers: int = 1,
        rollout: Rollout | None = None,
    ) -> None:
        """``config`` names Kafka, with its own prefix, and the registry. ``rollout``: begins before the workers."""
        self._config = config
        self._fault = fault
        self._folder = folder
        self._workers = workers
        self._rollout = rollout
        self._stack = AsyncExitStack()
        self.topics = Topics(TASK, config.kafka.topic_prefix)
        self.processes: list[WorkerProcess] = []

    async def __aenter__(self) -> "TrialRun":
        store = self.store
        store.put_alias(TASK, ALIAS, promoted(None, STABLE, _change()))
        if self._rollout is not None:
            self.begin(self._rollout)
        processes = self._stack.enter_context(ExitStack())
        for number in range(self._workers):
            self.processes.append(processes.enter_context(self.start(number)))
        self.broker = await self._stack.enter_async_context(KafkaBroker(self._config.kafka))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def store(self) -> ReleaseStore:
        """The registry."""
        return open_registry(self._config.registry.url, limit_s=self._config.registry.timeout_s)

    def start(self, number: int) -> WorkerProcess:
        """Start a worker."""
        program, *arguments = command(self._config, self._fault)
        return WorkerProcess(arguments, program=program, log=self._folder / f"worker-{number}.log")

    def begin(self, rollout: Rollout) -> AliasState:
        """Put the candidate on trial."""
        state = tried(self.store.alias(TASK, ALIAS), CANDIDATE, rollout, _change())
        self.store.put_alias(TASK, ALIAS, state)
        return state

    async def ended(self, state: AliasState, limit_s: float) -> float | None:
        """The seconds from now until another state follows this one; None after ``limit_s``."""
        began = time.monotonic()
        while time.monotonic() - began < limit_s:
            if (await asyncio.to_thread(self.store.alias, TASK, ALIAS)).number > state.number:
                return time.monotonic() - began
            if dead := [one for one in self.processes if not one.running]:
                raise InferstreamError(f"A worker has ended: {dead[0].last_line()}")
            await asyncio.sleep(0.05)
        return None

    async def ready(self) -> None:
        """Wait until the workers have made their topics, and all topics are there."""
        async with asyncio.timeout(START_S):
            for topic in (self.topics.requests, self.topics.replies, self.topics.labels):
                while await self.broker.partitions(topic) is None:  # noqa: ASYNC110 - a broker has no event for it
                    await asyncio.sleep(0.1)


async def trial_run(
    config: Config,
    fault: VersionFault,
    rollout: Rollout,
    folder: Path,
    *,
    rate: float = 200.0,
    labeled: float = 0.1,
    limit_s: float = 60.0,
    calm_s: float = 5.0,
    workers: int = 1,
) -> TrialResult:
    """Load the workers for ``calm_s``, begin the rollout, and wait until it is rolled back or ``limit_s`` is over."""
    async with TrialRun(config, fault, folder, workers) as run:
        await run.ready()
        load = TicketLoad(run.broker, run.topics, rate, labeled)
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(calm_s)
        seconds = await run.ended(run.begin(rollout), limit_s)
        await asyncio.sleep(1)
        load.stop()
        await loading
        history = run.store.history(TASK, ALIAS)
        return TrialResult(
            seconds,
            history[-1].reason if seconds is not None else "",
            len(load.sent),
            len(load.lost),
            sum(count > 1 for count in load.ended.values()),
            load.failures.total(),
            load.answers[CANDIDATE],
            history,
        )


def _change() -> Change:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Change(at=at, by="the lab")
