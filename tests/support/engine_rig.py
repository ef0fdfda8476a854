"""An engine over a fake session, for tests of the engine and of the rooms above it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.config import MAX_REQUEST_TOKENS
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.disk import DiskCache
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from support.echo import Echo, a_job

POISON = "\u2620"
SMALL, LARGE = "echo-small", "echo-large"


class EngineRig:
    """An engine with two models on one device."""

    def __init__(
        self,
        *,
        cached: bool = True,
        disk: Path | None = None,
        lanes: int = 2,
        limits: Limits | None = None,
        max_tokens: int = MAX_REQUEST_TOKENS * 2,
    ) -> None:
        self.clock = FakeClock()
        self.session = FakeSession(poison=[ord(POISON)])
        self.device = Device(
            Encoder(self.session),
            limits or Limits(4_096, 64),
            {RUN: Cost((10.0, 0.01, 0.0001, 1e-7))},
            LaneSettings(lanes, self.clock, self.clock),
        )
        self.tasks = {name: Echo(name) for name in (SMALL, LARGE)}
        self.engine = Engine(
            {"echo": {name: ModelEntry(task, self.device) for name, task in self.tasks.items()}},
            memory=MemoryCache(1_000_000) if cached else None,
            disk=DiskCache(disk, 10_000_000) if disk else None,
            clock=self.clock,
            max_tokens=max_tokens,
        )

    async def ask(self, text: str, **more: Any) -> EngineAnswer:
        return await self.engine.answer(a_job(text, **more))

    def asked(self, *texts: str, **more: Any) -> list["asyncio.Task[EngineAnswer]"]:
        return [asyncio.create_task(self.ask(text, **more)) for text in texts]

    async def begun(self, runs: int) -> None:
        await asyncio.to_thread(self.session.wait_for_runs, runs)

    async def waits(self, rows: int) -> None:
        """Return when this many rows wait for the device: texts are prepared in another thread."""
        queues = self.device.batcher.phases.values()

        def waiting() -> int:
            return sum(not one.cancelled for queue in queues for one in queue.waiting.copy())

        while waiting() != rows:  # noqa: ASYNC110 - a thread of the engine fills it
            await asyncio.sleep(0.001)


@asynccontextmanager
async def an_engine_rig(**more: Any) -> AsyncIterator[EngineRig]:
    rig = EngineRig(**more)
    try:
        async with asyncio.timeout(20), rig.engine:
            yield rig
            rig.session.release()
    finally:
        rig.session.release()
