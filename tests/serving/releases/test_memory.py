"""Releases that have been replaced leave the memory, however often one is exchanged."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.released_models import PROD, ReleasedModels

from inferstream import Config, Edge
from inferstream.pipeline.config import CacheConfig, RegistryConfig
from inferstream.pipeline.runtime.sessions import Session
from inferstream.pipeline.serving.releases.opening import OpenRelease

EXCHANGES = 12
SERVED = 2
"""What answers, and what is kept for a rollback."""


class Living:
    """Counts the sessions that were made, and the tasks that were served, and are still in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self.tasks: weakref.WeakSet[Any] = weakref.WeakSet()
        begin = Session.__init__

        def counted(session: Session, *args: Any, **more: Any) -> None:
            begin(session, *args, **more)
            self.sessions.add(session)

        monkeypatch.setattr(Session, "__init__", counted)

    @property
    def most(self) -> int:
        gc.collect()  # a device and its batcher refer to each other
        return max(len(self.sessions), len(self.tasks))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasedModels:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "worker"))
    return ReleasedModels(tmp_path)


async def exchanged(
    models: ReleasedModels, living: Living, served: Callable[[OpenRelease], object] = lambda _: None
) -> list[int]:
    """How many live after each of the exchanges of three encoders, each with a head."""
    versions = []
    for seed in (1, 2, 3):
        models.encoder(seed)
        versions.append(models.triage(seed))
    models.promote(versions[0])
    counts = []
    config = Config(
        cache=CacheConfig(disk_bytes=0), registry=RegistryConfig(str(models.registry), poll_s=1e9)
    )
    edge = Edge(config, task="triage", models=[PROD])
    async with asyncio.timeout(120), edge as client:
        await client.request("triage", "the engine has begun")
        follower = edge.serving.follower
        assert follower is not None
        alias = follower.followed[0].aliases[PROD]
        for number in range(1, EXCHANGES + 1):
            models.promote(versions[number % 3])
            load = [asyncio.create_task(client.request("triage", f"{number} {one}")) for one in range(8)]
            await follower.look()
            await asyncio.gather(*load)
            served(alias.stable)
            living.tasks.add(alias.stable.entry.task)
            while len(list(edge.serving.engine.devices)) > SERVED:
                edge.serving.engine.devices.check()
                await asyncio.sleep(0.005)
            await edge.serving.engine.devices.stopped()
            await follower.look()
            counts.append(living.most)
    return counts


async def test_what_was_replaced_leaves_the_memory(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = await exchanged(models, Living(monkeypatch))
    assert set(counts[1:]) == {SERVED}


async def test_a_release_that_is_kept_by_mistake_would_be_counted(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[OpenRelease] = []
    counts = await exchanged(models, Living(monkeypatch), kept.append)
    assert counts[-1] == EXCHANGES
