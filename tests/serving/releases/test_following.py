"""A worker follows its alias: it loads a release beside the old one, exchanges them, and keeps the old one."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.released_models import PROD, ReleasedModels

from inferstream import Answer, Client, Config, Edge, UnknownModel, UsageError
from inferstream.pipeline.config import CacheConfig, RegistryConfig
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.trials.trial import Trial
from inferstream.pipeline.models.releases.alias import Rollout, RolloutLimits
from inferstream.pipeline.serving.loading import ModelLoader
from inferstream.pipeline.serving.releases.first_texts import answer_alone
from inferstream.pipeline.serving.releases.followed import FollowedAlias
from inferstream.pipeline.serving.releases.follower import Follower
from inferstream.pipeline.serving.releases.opening import ReleaseOpener
from inferstream.pipeline.tasks.catalogue import tasks
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.messages import Request, TriageOutput

WIDE = RolloutLimits(error_rate=0.99, latency=1_000, disagreement=0.99, accuracy=0.99)
"""Heads of random numbers agree by chance only."""
TEXTS = [
    f"my {word} is not {state}"
    for word in ("card", "order", "login", "parcel")
    for state in ("broken", "late")
]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasedModels:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "worker"))
    return ReleasedModels(tmp_path)


def config_of(models: ReleasedModels, **registry: Any) -> Config:
    return Config(
        cache=CacheConfig(disk_bytes=0), registry=RegistryConfig(str(models.registry), poll_s=1e9, **registry)
    )


@asynccontextmanager
async def serving(
    models: ReleasedModels, names: Sequence[str] = (PROD,), **registry: Any
) -> AsyncIterator[tuple[Edge, Client]]:
    edge = Edge(config_of(models, **registry), task="triage", models=names)
    async with edge as client:
        await ask(client, "the engine has begun")
        yield edge, client


def follower_of(edge: Edge) -> Follower:
    assert edge.serving.follower is not None
    return edge.serving.follower


def alias_of(edge: Edge) -> FollowedAlias:
    return follower_of(edge).followed[0].aliases[PROD]


async def ask(client: Client, text: str = TEXTS[0], **more: Any) -> Answer[Any]:
    return await client.request("triage", text, **more)


async def until_stopped(engine: Engine, count: int) -> None:
    """Return when ``count`` devices are left."""
    while len(list(engine.devices)) > count:
        engine.devices.check()
        await asyncio.sleep(0.01)


def expected(models: ReleasedModels, version: str) -> dict[str, TriageOutput]:
    """What the release answers to each text, computed apart."""
    config = config_of(models)
    opener = ReleaseOpener(config, ModelLoader(config, WorkerMetrics()))
    entry = opener.open(tasks().find("triage"), opener.find("triage", version)).entry
    found = {}
    for text in TEXTS:
        answer = answer_alone(entry, entry.device.model, Request(text=text))
        assert answer is not None
        found[text] = msgspec.json.decode(answer, type=TriageOutput)
    opener.forget(())
    return found


async def test_each_answer_is_that_of_the_release_that_it_names(models: ReleasedModels) -> None:
    """Two heads on one encoder, then another encoder, then back."""
    first, second = models.triage(1), models.triage(2)
    models.encoder(seed=5)
    third = models.triage(3)
    right = {
        version: await asyncio.to_thread(expected, models, version) for version in (first, second, third)
    }
    assert len({str(answers) for answers in right.values()}) == 3
    models.promote(first)
    async with serving(models) as (edge, client):
        for version in (first, second, third, first):
            models.promote(version)
            await follower_of(edge).look()
            for text in TEXTS:
                answer = await ask(client, text, model=PROD)
                assert answer.reply.release == version
                assert answer.output.category == right[version][text].category
                assert answer.output.confidence == pytest.approx(right[version][text].confidence, abs=2e-4)
        assert 'inferstream_release_swaps_total{task="triage"} 3.0' in edge.serving.metrics.render().decode()


async def test_two_heads_on_one_encoder_cost_one_session(models: ReleasedModels) -> None:
    models.promote(models.triage(1))
    async with serving(models) as (edge, client):
        for seed in range(2, 6):
            models.promote(models.triage(seed))
            await follower_of(edge).look()
            await ask(client)
        assert len(list(edge.serving.engine.devices)) == 1


async def test_the_one_before_is_kept_for_a_rollback_and_the_one_before_that_is_freed(
    models: ReleasedModels,
) -> None:
    versions = []
    for seed in (1, 2, 3):
        models.encoder(seed)
        versions.append(models.triage(seed))
    models.promote(versions[0])
    async with serving(models) as (edge, client):
        for version in versions[1:]:
            models.promote(version)
            await follower_of(edge).look()
        await until_stopped(edge.serving.engine, 2)
        assert (await ask(client, model=f"triage@{versions[1]}")).reply.release == versions[1]
        with pytest.raises(UnknownModel, match=versions[0]):
            await ask(client, model=f"triage@{versions[0]}")
        shutil.rmtree(models.registry / "objects")  # nothing is loaded for the rollback
        shutil.rmtree(Path(edge.serving.follower._opener.local.folder))  # type: ignore[union-attr]
        models.force(versions[1], alias_of(edge).name)
        await follower_of(edge).look()
        assert (await ask(client)).reply.release == versions[1]
        assert (await ask(client, model=f"triage@{versions[2]}")).reply.release == versions[2]


async def test_a_release_that_was_stopped_meanwhile_is_loaded_again(models: ReleasedModels) -> None:
    versions = []
    for seed in (1, 2, 3):
        models.encoder(seed)
        versions.append(models.triage(seed))
    models.promote(versions[0])
    async with serving(models) as (edge, client):
        for version in (versions[1], versions[2], versions[0], versions[1]):
            models.promote(version)
            await follower_of(edge).look()
            assert (await ask(client)).reply.release == version
            await until_stopped(edge.serving.engine, 2)


async def test_what_is_kept_gives_way_to_a_new_release(models: ReleasedModels) -> None:
    sizes, versions = [], []
    for seed in (1, 2, 3):
        models.encoder(seed)
        models.head(seed)
        release = models.release("triage", "shop")
        versions.append(release.version)
        sizes.append(release.size_bytes)
    models.promote(versions[0])
    async with serving(models, memory_bytes=round(2 * 2.5 * max(sizes))) as (edge, client):  # two, not three
        for version in versions[1:]:
            models.promote(version)
            await follower_of(edge).look()
            assert (await ask(client)).reply.release == version
        assert alias_of(edge).kept is not None
        await until_stopped(edge.serving.engine, 2)


async def test_a_version_is_served_by_its_name_and_does_not_change(models: ReleasedModels) -> None:
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with serving(models, [f"triage@{second}", PROD]) as (edge, client):
        assert (await ask(client)).reply.release == second
        models.promote(second)
        await follower_of(edge).look()
        answers = [
            await ask(client),
            await ask(client, model=PROD),
            await ask(client, model=f"triage@{first}"),
        ]
        assert [answer.reply.release for answer in answers] == [second, second, first]
    async with serving(models, [f"triage@{second}"]) as (edge, client):
        assert edge.serving.follower is None
        assert (await ask(client)).reply.release == second


async def test_without_the_registry_a_worker_starts_on_what_it_served_last(
    models: ReleasedModels, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with serving(models) as (edge, _):
        models.promote(second)
        await follower_of(edge).look()
    models.registry.rename(models.registry.with_name("away"))
    async with serving(models) as (edge, client):
        assert (await ask(client)).reply.release == second
        assert f"The worker starts on triage@{second}, which it served last as {PROD}." in caplog.text
        await follower_of(edge).look()
        assert (
            'inferstream_release_behind{alias="prod",task="triage"} 1.0'
            in edge.serving.metrics.render().decode()
        )
        models.registry.with_name("away").rename(models.registry)
        models.promote(first)
        await follower_of(edge).look()
        assert (await ask(client)).reply.release == first
        assert (
            'inferstream_release_behind{alias="prod",task="triage"} 0.0'
            in edge.serving.metrics.render().decode()
        )


async def test_a_worker_that_has_served_nothing_does_not_start_without_the_registry(
    models: ReleasedModels,
) -> None:
    with pytest.raises(UnknownModel, match="triage@prod"):
        async with serving(models):
            pass


async def test_a_worker_whose_alias_is_broken_at_its_start_starts_on_what_it_served_last(
    models: ReleasedModels,
) -> None:
    first = models.triage(1)
    models.promote(first)
    async with serving(models) as (edge, _):
        await follower_of(edge).look()
    models.promote(models.triage(2, gate=None))
    async with serving(models) as (edge, client):
        await follower_of(edge).look()
        assert (await ask(client)).reply.release == first
        assert "not measured" in next(iter(alias_of(edge).refusals.values())).reason


async def test_a_fault_of_the_registry_changes_nothing_and_passes(
    models: ReleasedModels, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with serving(models) as (edge, client):
        models.promote(second)
        away = models.registry.with_name("away")
        models.registry.rename(away)
        for _ in range(3):
            await follower_of(edge).look()
        assert (await ask(client)).reply.release == first
        assert sum("cannot be followed" in record.message for record in caplog.records) == 1
        away.rename(models.registry)
        await follower_of(edge).look()
        assert (await ask(client)).reply.release == second


async def test_a_candidate_answers_its_share_beside_the_stable_version(models: ReleasedModels) -> None:
    first, second = models.triage(1), models.triage(2)
    models.promote(first)
    async with serving(models) as (edge, client):
        models.promote(second, rollout=Rollout("canary", 0.5, WIDE))
        await follower_of(edge).look()
        trial = next(iter(edge.serving.engine.choosers("triage")))
        assert isinstance(trial, Trial)
        answers = [await ask(client, f"{text} {number}") for text in TEXTS for number in range(5)]
        assert {answer.reply.release for answer in answers} == {first, second}
        await follower_of(edge).look()
        assert next(iter(edge.serving.engine.choosers("triage"))) is trial, "its figures go on"
        models.promote(first)
        await follower_of(edge).look()
        assert {(await ask(client, text)).reply.release for text in TEXTS} == {first}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("embed@prod", "is a release of 'embed'"),
        ("triage@Prod", "triage@prod"),
        ("triage@", "not the name of a release"),
    ],
)
async def test_a_wrong_name_is_told(models: ReleasedModels, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        async with serving(models, [name]):
            pass
