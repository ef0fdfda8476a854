"""How long the device keeps everybody waiting: a long text of one tenant is a backlog that others do not wait for."""

import asyncio
import threading
from pathlib import Path

import pytest
from support.engine_rig import EngineRig, an_engine_rig

from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import Config
from inferstream.pipeline.delivery.linger import BUSY_DELAY_S
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.runtime.model import Feeds
from inferstream.pipeline.serving.build import build_serving
from inferstream.pipeline.telemetry import Metrics
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


async def backlog_of(rig: EngineRig, seconds: float) -> None:
    while rig.engine.backlog_s <= seconds:  # noqa: ASYNC110 - threads of the engine fill it
        await asyncio.sleep(0.001)


async def test_the_rows_of_a_long_text_keep_no_other_tenant_waiting() -> None:
    async with an_engine_rig(lanes=1, limits=Limits(32, 1), cached=False) as rig:
        gate = Gate(rig)
        (long,) = rig.asked("long " * 1_000, tenant="stranger")
        await backlog_of(rig, 1.0)
        (short,) = rig.asked("short")
        while rig.device.batcher.backlog_ms and not rig.engine._took_s:
            gate.let_through(1)
            await asyncio.sleep(0.01)
        await short
        assert not long.done()
        assert rig.engine.backlog_s > 1.0
        assert rig.engine.delay_s <= 0.3, "one run of the long text, and its own"
        gate.let_through(1_000)
        await long


async def test_replies_and_polls_linger_only_while_everybody_waits(tmp_path: Path) -> None:
    async with an_engine_rig(lanes=1, limits=Limits(32, 1), cached=False) as rig:
        gate = Gate(rig)
        broker = EmbeddedBroker(tmp_path)
        window = build_serving(Config(), broker, Topics("echo"), rig.engine, Metrics()).worker.window
        asked = rig.asked("long " * 1_000, tenant="stranger")
        await backlog_of(rig, BUSY_DELAY_S)
        assert not window.busy()
        rig.clock.advance(BUSY_DELAY_S)
        asked += rig.asked("short")
        rig.clock.advance(BUSY_DELAY_S)
        while not asked[1].done():
            gate.let_through(1)
            await asyncio.sleep(0.01)
        assert window.busy()
        gate.let_through(1_000)
        await asyncio.gather(*asked)
        assert not window.busy()


async def test_a_device_that_everybody_waits_for_keeps_everybody_waiting() -> None:
    async with an_engine_rig(lanes=1, limits=Limits(4_096, 1), cached=False) as rig:
        gate = Gate(rig)
        first, *others = rig.asked(*[f"text {number}" for number in range(100)])
        await backlog_of(rig, 0.5)
        assert rig.engine.delay_s == 0.0, "no text has waited yet"
        rig.clock.advance(30.0)
        gate.let_through(1)
        await first
        assert not any(one.done() for one in others)
        assert rig.engine.delay_s == rig.engine.backlog_s > 0.2
        gate.let_through(1_000)
        await asyncio.gather(*others)


@pytest.mark.parametrize("broken", ["", "\0"])
async def test_a_text_that_failed_shows_nothing(broken: str) -> None:
    async with an_engine_rig(lanes=1, cached=False) as rig:
        gate = Gate(rig)
        gate.let_through(1_000)
        await rig.ask("text")
        took_s = rig.engine._took_s
        await asyncio.gather(*rig.asked(f"bad {broken}\u2620"), return_exceptions=True)
        assert rig.engine._took_s == took_s == pytest.approx(0.1)
