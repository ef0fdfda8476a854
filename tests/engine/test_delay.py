"""How long the device keeps everybody waiting: a long text of one tenant is a backlog that others do not wait for."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.engine_rig import EngineRig, an_engine_rig

from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import Config
from inferstream.pipeline.delivery.linger import BUSY_DELAY_S
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.errors import DeviceError
from inferstream.pipeline.runtime.graph import Feeds
from inferstream.pipeline.serving.task_workers import task_workers
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.topics import Topics


class Gate:
    """Lets the runs of a rig's device through one by one; each takes a tenth of a second."""

    def __init__(self, rig: EngineRig) -> None:
        self._rig = rig
        self._run = rig.session.run
        self._open = threading.Semaphore(0)
        rig.session.run = self.run  # type: ignore[method-assign]

    def run(self, feeds: Feeds) -> list[object]:
        assert self._open.acquire(timeout=20)
        self._rig.clock.advance(0.1)
        return list(self._run(feeds))

    def let_through(self, runs: int) -> None:
        self._open.release(runs)


@asynccontextmanager
async def a_gated_rig(limits: Limits) -> AsyncIterator[tuple[EngineRig, Gate]]:
    async with an_engine_rig(lanes=1, limits=limits, cached=False) as rig:
        gate = Gate(rig)
        try:
            yield rig, gate
        finally:
            gate.let_through(1_000)


async def waiting(rig: EngineRig, rows: int) -> None:
    while len(rig.device.batcher) != rows:  # noqa: ASYNC110 - threads of the engine fill and empty it
        await asyncio.sleep(0.001)


LONG = "x" * 32 * 100
"""100 rows: one on the device, 99 behind it."""


async def test_the_rows_of_a_long_text_keep_no_other_tenant_waiting() -> None:
    async with a_gated_rig(Limits(32, 1)) as (rig, gate):
        (long,) = rig.asked(LONG, tenant="stranger")
        await waiting(rig, 99)
        (short,) = rig.asked("short")
        await waiting(rig, 100)
        gate.let_through(2)
        await short
        assert not long.done()
        assert rig.engine.backlog_s > 0.9
        assert rig.engine.delays(0.19), "a run of the long text, and its own"
        assert not rig.engine.delays(0.21)


async def test_replies_and_polls_linger_only_while_everybody_waits(tmp_path: Path) -> None:
    async with a_gated_rig(Limits(32, 1)) as (rig, gate):
        broker = EmbeddedBroker(tmp_path)
        window = task_workers(
            Config(), broker, Topics("echo"), rig.engine, WorkerMetrics().of_task("echo")
        ).worker.window
        asked = rig.asked(LONG, tenant="stranger")
        await waiting(rig, 99)
        assert not window.busy(), "no text has waited yet"
        asked += rig.asked("short")
        await waiting(rig, 100)
        rig.clock.advance(BUSY_DELAY_S)
        gate.let_through(2)
        await asked[1]
        assert window.busy()
        gate.let_through(1_000)
        await asyncio.gather(*asked)
        assert not window.busy(), "nothing waits any more"


async def test_a_device_that_everybody_waits_for_keeps_everybody_waiting() -> None:
    async with a_gated_rig(Limits(4_096, 1)) as (rig, gate):
        first, *others = rig.asked(*[f"text {number}" for number in range(100)])
        await waiting(rig, 99)
        assert not rig.engine.delays(0.0), "no text has waited yet"
        rig.clock.advance(30.0)
        gate.let_through(1)
        await first
        assert not any(one.done() for one in others)
        backlog_s = rig.engine.backlog_s
        assert backlog_s > 0.2
        assert rig.engine.delays(backlog_s * 0.99)
        assert not rig.engine.delays(backlog_s)
        gate.let_through(1_000)
        await asyncio.gather(*others)


@pytest.mark.parametrize(
    "text", ["bad \u2620", "bad \0", "x" * 40 + "\u2620"], ids=["not run", "not read", "its last row not run"]
)
async def test_a_text_that_failed_does_not_show_how_long_one_waits(text: str) -> None:
    async with a_gated_rig(Limits(32, 1)) as (rig, gate):
        gate.let_through(1_000)
        await rig.ask("text")
        took_s = rig.engine._took_s
        (failed,) = await asyncio.gather(*rig.asked(text), return_exceptions=True)
        assert isinstance(failed, DeviceError)
        assert rig.engine._took_s == took_s == pytest.approx(0.1)
