"""A worker process on a real Kafka exchanges its model under load, and is killed meanwhile; nothing is lost."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.released_models import PROD, ReleasedModels

from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.client.client import Client
from inferstream.pipeline.config import Config, KafkaConfig, RegistryConfig
from inferstream.pipeline.lab.swaps.right_answers import right_answers
from inferstream.pipeline.lab.swaps.swap_load import SwapLoad
from inferstream.pipeline.lab.worker_process import WorkerProcess, serve_task

WORDS = ("card", "order", "login", "parcel", "money", "refund")
TEXTS = [f"my {one} is not {other}" for one in WORDS for other in (*WORDS, "late", "broken")]
CALLERS = 12
SOME = 30
"""Answers of a release after which the next one comes."""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleasedModels:
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "worker"))
    return ReleasedModels(tmp_path)


@pytest.fixture
def versions(models: ReleasedModels) -> list[str]:
    """Two heads on one encoder, and one head on each of two others."""
    found = [models.triage(1), models.triage(2)]
    for seed in (3, 4):
        models.encoder(seed)
        found.append(models.triage(seed))
    models.promote(found[0])
    return found


class SwapPlace:
    """A worker of the alias, which can be started again, on topics of its own."""

    def __init__(self, kafka: str, prefix: str, models: ReleasedModels, folder: Path) -> None:
        self.kafka = KafkaConfig(bootstrap=kafka, topic_prefix=prefix)
        self._folder = folder
        settings = folder / "settings.toml"
        settings.write_text(f'[registry]\nurl = "{models.registry}"\npoll_s = 1.0\n')
        options = ("--kafka", kafka, "--topic-prefix", prefix, "--no-cache", "--config", str(settings))
        # A static member: after a kill the group waits for no session timeout.
        options += ("--member", "the-one")
        self._program = serve_task("triage", "--model", PROD, *options)
        self.workers: list[WorkerProcess] = []

    def start(self) -> WorkerProcess:
        log = self._folder / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkerProcess(self._program, log=log, home=self._folder / "worker"))
        return self.workers[-1]


@pytest.fixture
def place(kafka: str, unique: str, models: ReleasedModels, tmp_path: Path) -> Iterator[SwapPlace]:
    place = SwapPlace(kafka, unique, models, tmp_path)
    yield place
    for worker in place.workers:
        worker.kill()
        print(worker.output)


@asynccontextmanager
async def under_load(
    place: SwapPlace, models: ReleasedModels, versions: list[str]
) -> AsyncIterator[SwapLoad]:
    config = Config(registry=RegistryConfig(str(models.registry)))
    expected = await asyncio.to_thread(right_answers, config, versions, TEXTS)
    assert len({str(answers) for answers in expected.values()}) == len(versions)
    async with (
        asyncio.timeout(150),
        KafkaBroker(place.kafka) as broker,
        Client(broker=broker, prefix=place.kafka.topic_prefix) as client,
        asyncio.TaskGroup() as tasks,
    ):
        load = SwapLoad(client, TEXTS, expected)
        tasks.create_task(load.run(CALLERS))
        yield load
        load.end()
    assert load.lost == []
    assert load.wrong == []
    assert set(load.by_release) == set(versions)


async def test_no_request_is_lost_or_mixed_when_the_model_is_exchanged(
    place: SwapPlace, models: ReleasedModels, versions: list[str]
) -> None:
    worker = place.start()
    await asyncio.to_thread(worker.wait_ready)
    async with under_load(place, models, versions) as load:
        for version in (*versions, versions[2], versions[0]):
            models.promote(version)
            await load.until_answered_by(version, SOME)
    page = worker.page("/metrics") or ""
    assert 'inferstream_release_swaps_total{task="triage"} 5.0' in page
    (alias,) = json.loads(worker.page("/releases") or "")
    assert (alias["alias"], alias["means"], alias["stable"]) == (PROD, versions[0], versions[0])
    assert (alias["kept"], alias["behind"], alias["refused"]) == (versions[2], False, {})


async def test_no_request_is_lost_or_mixed_when_the_worker_is_killed_in_the_middle_of_an_exchange(
    place: SwapPlace, models: ReleasedModels, versions: list[str]
) -> None:
    worker = place.start()
    await asyncio.to_thread(worker.wait_ready)
    moments = random.Random(7)
    async with under_load(place, models, versions) as load:
        await load.until_answered_by(versions[0], SOME)
        for version in (versions[2], versions[1], versions[3]):
            models.promote(version)
            await asyncio.sleep(moments.uniform(0.2, 1.6))
            worker.kill()
            worker = place.start()
            await load.until_answered_by(version, SOME)
