"""An engine over a model of many steps, for tests of the engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.clock import FakeClock
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.engine_answer import EngineAnswer
from inferstream.pipeline.engine.job import Job
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.lab.steps import Steps, StepsModel, StepsOutput
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.schemas.messages import Request

WEIGHTS = (1.0, 0.01, 0.0001, 1e-7)
"""Of a cost model by which large batches are the fastest."""
LIMITS = Limits(4_096, 64)


class StepsRig:
    """An engine over a `StepsModel`; ``clock`` advances by 1 ms with each step."""

    def __init__(
        self,
        *,
        lanes: int = 1,
        limits: Limits = LIMITS,
        cached: bool = True,
        max_characters: int = 10_000,
        weights: Sequence[float] = WEIGHTS,
        note: CrashNote | None = None,
        **session: Any,
    ) -> None:
        self.clock = FakeClock()
        self.session = FakeSession(clock=self.clock, cost_ms=lambda rows, length: 1.0, **session)
        self.model = StepsModel(self.session)
        settings = LaneSettings(lanes, self.clock, self.clock)
        costs = {phase: Cost(weights) for phase in self.model.phases}
        self.device = Device(self.model, limits, costs, settings, note=note)
        self.task = Steps(max_characters=max_characters)
        entry = ModelEntry(self.task, self.device)
        memory = MemoryCache(1_000_000) if cached else None
        self.engine = Engine({"steps": {"steps": entry}}, memory=memory, disk=None, clock=self.clock)

    def job(self, text: str, *, repeat: int = 1, **more: Any) -> Job:
        return Job("steps", Request(text=text, options={"repeat": repeat}), **more)

    async def ask(self, text: str, **more: Any) -> EngineAnswer:
        return await self.engine.answer(self.job(text, **more))

    def asked(self, text: str, **more: Any) -> "asyncio.Task[EngineAnswer]":
        return asyncio.create_task(self.ask(text, **more))

    async def begun(self, runs: int) -> None:
        await asyncio.to_thread(self.session.wait_for_runs, runs)


@asynccontextmanager
async def a_steps_rig(**more: Any) -> AsyncIterator[StepsRig]:
    """At the end nothing is left on the device, and nothing of the work that waits."""
    rig = StepsRig(**more)
    try:
        async with asyncio.timeout(20), rig.engine:
            yield rig
            rig.session.release()
    finally:
        rig.session.release()
    assert rig.model.running == set()
    assert rig.device.batcher.backlog_ms == pytest.approx(0.0, abs=1e-9)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - a lane's thread changes it
        await asyncio.sleep(0)


def text_of(answer: EngineAnswer) -> str:
    return msgspec.json.decode(answer.output, type=StepsOutput).text
