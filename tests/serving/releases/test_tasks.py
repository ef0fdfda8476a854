"""Each task follows its alias: decoders, whose streams and memory are their own, translators and classifiers."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from support.decoder_home import with_decoder
from support.generate_worker import watched_steps
from support.released_models import ReleasedModels
from support.tiny_families import LABELS, write_tiny
from support.tiny_marian import write_tiny_marian
from support.trial_rig import until

from inferstream import Client, Config, Edge
from inferstream.pipeline.config import CacheConfig, ChainConfig, EngineConfig, RegistryConfig, StepConfig
from inferstream.pipeline.engine.trials.trial import Trial
from inferstream.pipeline.models.manifest import write_manifest
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.alias import Rollout
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now
from inferstream.pipeline.optimize.pull.pulling import pull
from inferstream.pipeline.optimize.pull.translators import import_translator
from inferstream.pipeline.runtime import memory_left as memory
from inferstream.pipeline.serving.releases.followed import FollowedAlias
from inferstream.pipeline.serving.releases.follower import Follower

STEPS: Final = ("translate", "classify")
CHAIN: Final = "both"
LONG: Final = {"max_tokens": 200}
SENTENCES: Final = "My card does not work. The parcel is late. Thank you for the help. " * 2


def a_decoder(models: ReleasedModels, folder: Path, seed: int, shorter: int = 0) -> str:
    """Publish one; ``shorter``: by so many tokens is its longest text shorter, which makes another model of it."""
    manifest = with_decoder(folder, seed)
    path = models.home / "models" / "tiny" / "fp32.json"
    write_manifest(replace(manifest, max_tokens=manifest.max_tokens - shorter), path)
    return models.release("generate", "tiny-fp32").version


def a_translator(models: ReleasedModels, folder: Path, seed: int) -> str:
    import_translator(ModelRegistry(), write_tiny_marian(folder, seed), lambda *_: None)
    return models.release("translate", "translate-xx-yy-fp32").version


def a_classifier(models: ReleasedModels, folder: Path, seed: int) -> str:
    write_tiny(folder, "roberta", classifier=True, seed=seed)
    pull(ModelRegistry(), "classifier", lambda *_: None, folder=folder)
    return models.release("classify", "classifier-fp32", labels=tuple(LABELS.values())).version


MAKERS: Final[dict[str, Callable[..., str]]] = {
    "generate": a_decoder,
    "translate": a_translator,
    "classify": a_classifier,
}


@pytest.fixture
def models(tmp_path: Path) -> ReleasedModels:
    return ReleasedModels(tmp_path)


def published(models: ReleasedModels, task: str, *made: dict[str, Any]) -> list[str]:
    """The versions of releases, each of one model alone; the alias prod means the first."""
    versions = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERSTREAM_HOME", str(models.home))
        for number, one in enumerate(made):
            shutil.rmtree(models.home, ignore_errors=True)
            folder = models.home.with_name(f"{task}-{number}")
            folder.mkdir()
            versions.append(MAKERS[task](models, folder, **one))
    models.promote(versions[0], task=task)
    return versions


@asynccontextmanager
async def serving(
    models: ReleasedModels, task: str, monkeypatch: pytest.MonkeyPatch, **registry: Any
) -> AsyncIterator[tuple[Edge, Client, Follower, FollowedAlias]]:
    monkeypatch.setenv("INFERSTREAM_HOME", str(models.home.with_name("worker")))
    config = Config(
        cache=CacheConfig(enabled=False),
        engine=EngineConfig(lanes=2),
        registry=RegistryConfig(str(models.registry), poll_s=1e9, **registry),
        tasks={"generate": {"rows": 4, "context": 256}, **{one: {"model": f"{one}@prod"} for one in STEPS}},
        chains={CHAIN: ChainConfig([STEPS[0], StepConfig(STEPS[1], model=f"{STEPS[1]}@prod")])},
    )
    served = {CHAIN: ()} if task == CHAIN else {task: [f"{task}@prod"]}
    edge = Edge(config, tasks=served)
    async with asyncio.timeout(60), edge as client:
        assert edge.serving.follower is not None
        alias = next(iter(edge.serving.follower.followed[0].aliases.values()))
        yield edge, client, edge.serving.follower, alias


async def releases(client: Client, task: str, count: int = 12) -> set[str | None]:
    """The releases that answer requests which are sent at once."""
    asked = (
        client.request(task, f"{number} {SENTENCES}", options=options_of(task)) for number in range(count)
    )
    return {answer.reply.release for answer in await asyncio.gather(*asked)}


def options_of(task: str) -> dict[str, Any]:
    return {"max_tokens": 20} if task == "generate" else {}


@pytest.mark.parametrize("task", list(MAKERS))
async def test_a_task_follows_its_alias_to_and_fro(
    task: str, models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = published(models, task, {"seed": 3}, {"seed": 4})
    async with serving(models, task, monkeypatch) as (_, client, follower, alias):
        assert await releases(client, task) == {first}
        models.promote(second, task=task)
        during = asyncio.create_task(releases(client, task))
        await follower.look()
        assert await during <= {first, second}
        assert await releases(client, task) == {second}
        by_version = await client.request(task, "my card", options=options_of(task), model=f"{task}@{first}")
        assert by_version.reply.release == first
        Promoter(models.store).roll_back(ReleaseName(task, "prod"), change_now(by="a test"))
        await follower.look()
        assert await releases(client, task) == {first}
        assert alias.refusals == {}


async def test_a_stream_ends_on_the_decoder_that_it_began_with(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = published(models, "generate", {"seed": 3}, {"seed": 4})
    with watched_steps() as steps:
        async with serving(models, "generate", monkeypatch) as (_, client, follower, _):
            whole = (await client.request("generate", "my card", options=LONG)).output.text
            began = len(steps.decoded)
            steps.hold(lambda rows: len(steps.decoded) >= began + 20)
            async with client.stream("generate", "my card", options=LONG) as stream:
                told = [(await anext(stream)).text]
                await asyncio.to_thread(steps.wait_held)
                steps.hold(lambda rows: False)
                models.promote(second, task="generate")
                await follower.look()
                assert await releases(client, "generate", count=1) == {second}
                steps.go_on()
                told += [token.text async for token in stream]
                answer = await stream.answer()
    assert answer.reply.release == first
    assert "".join(told) == answer.output.text == whole


async def test_an_equal_decoder_is_the_same_whatever_each_keeps_of_prompts(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = published(models, "generate", {"seed": 3}, {"seed": 3, "shorter": 1})
    async with serving(models, "generate", monkeypatch) as (_, client, follower, alias):
        assert await releases(client, "generate") == {first}
        models.promote(second, task="generate", rollout=Rollout("canary", 0.5))
        await follower.look()
        trial = alias.trial
        assert isinstance(trial, Trial)
        trial.begun = True
        answered = [await releases(client, "generate", count=24) for _ in range(2)]
        assert {first, second} == set.union(*answered)
        await until(lambda: trial.figures.agreed + trial.figures.differed >= 10)
        assert trial.figures.differed == 0


async def test_what_a_decoder_takes_beside_its_weights_counts(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = published(models, "generate", {"seed": 3}, {"seed": 4})
    files = sum(models.store.release("generate", version).size_bytes for version in (first, second))
    async with serving(models, "generate", monkeypatch) as (edge, client, _, _):
        assert await releases(client, "generate") == {first}
        (device,) = edge.serving.engine.devices
        taken = device.model.memory_bytes  # type: ignore[attr-defined]
    limit = 2 * files + taken * 3 // 2
    async with serving(models, "generate", monkeypatch, memory_bytes=limit) as (
        edge,
        client,
        follower,
        alias,
    ):
        models.promote(second, task="generate")
        await follower.look()
        assert "raise `memory_bytes`" in alias.refusals[second].reason
        assert await releases(client, "generate") == {first}
        assert len(edge.serving.follower._opener._loader._devices) == 1  # type: ignore[union-attr]


async def test_a_decoder_for_which_there_is_no_memory_is_tried_again(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = published(models, "generate", {"seed": 3}, {"seed": 4})
    async with serving(models, "generate", monkeypatch) as (_, client, follower, alias):
        models.promote(second, task="generate")
        with monkeypatch.context() as patch:
            patch.setattr(memory, "memory_left", lambda: 1_000)
            await follower.look()
        refusal = alias.refusals[second]
        assert "lower `rows`" in refusal.reason
        assert await releases(client, "generate") == {first}
        assert refusal.again_at < float("inf")
        refusal.again_at = 0.0
        await follower.look()
        assert await releases(client, "generate") == {second}


async def test_workers_that_end_on_a_candidate_are_not_counted_on_a_stable_version_of_the_same_name(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = published(models, "generate", {"seed": 3}, {"seed": 4})
    async with serving(models, "generate", monkeypatch) as (_, client, follower, alias):
        models.promote(second, task="generate", rollout=Rollout("canary", 0.5))
        await follower.look()
        assert await releases(client, "generate") >= {first}
        assert alias.candidate is not None
        folders = {one.entry.device._note._path.parent for one in (alias.stable, alias.candidate)}  # type: ignore[union-attr]
        assert len(folders) == 2


async def test_the_steps_of_a_chain_follow_their_aliases(
    models: ReleasedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(models, "classify", {"seed": 3})
    first, second = published(models, "translate", {"seed": 3}, {"seed": 4})
    async with serving(models, CHAIN, monkeypatch) as (_, client, follower, _):
        found = []
        for version in (first, second, first):
            models.promote(version, task="translate")
            await follower.look()
            alone = await client.request("translate", SENTENCES)
            assert alone.reply.release == version
            chained = await client.request(CHAIN, SENTENCES)
            assert chained.reply.release == models.store.alias("classify", "prod").stable
            found.append(chained.output)
        assert found[0] == found[2] != found[1], "the last step is asked what the first one answered"
