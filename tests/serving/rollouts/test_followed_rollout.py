"""A worker that follows its alias rolls a candidate back by itself, and then follows its own rollback."""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from support.released_models import PROD, ReleasedModels

from inferstream.pipeline.config import CacheConfig, Config, RegistryConfig
from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.rollouts.limits import RolloutLimits
from inferstream.pipeline.serving.edge import Edge


@pytest.mark.parametrize("mode", ["canary", "shadow"])
async def test_a_candidate_that_differs_is_rolled_back(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "worker"))
    models = ReleasedModels(tmp_path)
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    config = Config(
        cache=CacheConfig(disk_bytes=0), registry=RegistryConfig(str(models.registry), poll_s=0.1)
    )
    store = open_registry(str(models.registry))
    async with asyncio.timeout(60), Edge(config, task="triage", models=[PROD]) as client:
        await client.request("triage", "before")
        models.promote(second, rollout=Rollout(mode, 0.5, RolloutLimits(disagreement=0.0)))  # type: ignore[arg-type]
        seen = set()
        for number in count():
            answer = await client.request("triage", f"my card number {number} is broken")
            seen.add(answer.reply.release)
            if store.alias("triage", "prod").rolled_back:
                break
        assert seen == ({first} if mode == "shadow" else {first, second})
        last = store.alias("triage", "prod")
        assert (last.stable, last.candidate, last.rolled_back) == (first, None, second)
        assert "of the compared answers differ" in last.reason
        assert {
            (await client.request("triage", f"after {number}")).reply.release for number in range(20)
        } == {first}
