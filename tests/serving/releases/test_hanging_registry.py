"""A registry that hangs holds up neither a worker that serves nor one that starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from support.hanging_file import hanging
from support.released_models import PROD, ReleasedModels
from support.trial_rig import until

from inferstream import Client, Config, Edge
from inferstream.pipeline.config import CacheConfig, RegistryConfig
from inferstream.pipeline.engine.trials.trial import Trial
from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.rollouts.figures import RolloutFigures
from inferstream.pipeline.serving.releases.followed import FollowedAlias
from inferstream.pipeline.serving.releases.follower import Follower
from inferstream.pipeline.serving.rollouts import watcher

WITHIN_S: Final = 1.0


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasedModels:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "worker"))
    return ReleasedModels(tmp_path)


@asynccontextmanager
async def serving(models: ReleasedModels) -> AsyncIterator[tuple[Edge, Client, Follower, FollowedAlias]]:
    registry = RegistryConfig(str(models.registry), poll_s=1e9, timeout_s=WITHIN_S)
    edge = Edge(Config(cache=CacheConfig(disk_bytes=0), registry=registry), task="triage", models=[PROD])
    async with edge as client:
        await client.request("triage", "the engine has begun")
        follower = edge.serving.follower
        assert follower is not None
        yield edge, client, follower, follower.followed[0].aliases[PROD]


def state_of(models: ReleasedModels, number: int) -> Path:
    return models.registry / "aliases" / "triage" / "prod" / f"{number:08}.json"


async def test_the_worker_serves_on_says_so_once_and_follows_again(
    models: ReleasedModels, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with serving(models) as (edge, client, follower, alias):
        models.promote(second)
        with hanging(state_of(models, 2)):
            for _ in range(3):
                await follower.look()
            assert "has not answered in time" in alias.unreached
            assert (await client.request("triage", "my card")).reply.release == first
            page = edge.serving.metrics.render().decode()
            assert 'inferstream_release_behind{alias="prod",task="triage"} 1.0' in page
        assert sum("cannot be followed" in record.message for record in caplog.records) == 1
        await follower.look()
        assert (await client.request("triage", "my card")).reply.release == second


async def test_a_transfer_that_hangs_is_tried_again(models: ReleasedModels) -> None:
    first = models.triage(1)
    models.promote(first)
    async with serving(models) as (_, client, follower, alias):
        models.head(2)
        release = models.release("triage", "shop")
        models.promote(release.version)
        with hanging(models.object_of(release, "head.msgpack")):
            await follower.look()
            refusal = alias.refusals[release.version]
            assert "has not answered in time" in refusal.reason
            assert refusal.again_at < float("inf")
            assert (await client.request("triage", "my card")).reply.release == first
        refusal.again_at = 0
        await follower.look()
        assert (await client.request("triage", "my card")).reply.release == release.version


async def test_a_worker_that_starts_starts_on_what_it_served_last(
    models: ReleasedModels, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with serving(models) as (_, _, follower, _):
        await follower.look()
    models.promote(second)
    with hanging(state_of(models, 2)):
        async with serving(models) as (_, client, follower, _):
            assert (await client.request("triage", "my card")).reply.release == first
            await follower.look()
    assert f"The worker starts on triage@{first}, which it served last as {PROD}." in caplog.text


async def test_a_worse_candidate_answers_no_more_and_is_rolled_back_later(
    models: ReleasedModels, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "AGAIN_S", 0.05)
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with asyncio.timeout(30):
        async with serving(models) as (_, client, follower, alias):
            models.promote(second, rollout=Rollout("canary", 1.0))
            await follower.look()
            assert isinstance(alias.trial, Trial)
            alias.trial.begun = True
            assert (await client.request("triage", "my card")).reply.release == second
            with hanging(state_of(models, 1)):
                alias.trial.figures = RolloutFigures(agreed=60, differed=60)
                await until(lambda: "A rollback cannot be written" in caplog.text)
                assert "has not answered in time" in caplog.text
                assert (await client.request("triage", "my card")).reply.release == first
            await until(lambda: models.store.alias("triage", "prod").rolled_back == second)
