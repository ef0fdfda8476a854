"""Exchanges the model of a worker 20 times under full load, then kills the worker in the middle of 10 more.

python -m benchmarks.swaps [--swaps 20] [--kills 10] [--calm-s 40]

Needs `inferstream models pull minilm`. Four releases take turns: each has a head of random numbers, and an encoder that
counts as another one (its longest row differs), so that each exchange loads a session. Kafka, worker and callers share
this machine. The callers check each answer against what its release answers alone.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.client.client import Client
from inferstream.pipeline.config import Config, KafkaConfig, RegistryConfig
from inferstream.pipeline.home import home_folder
from inferstream.pipeline.kafka_local.cluster import LocalKafka
from inferstream.pipeline.lab.swaps.right_answers import right_answers
from inferstream.pipeline.lab.swaps.swap_load import SwapLoad
from inferstream.pipeline.lab.worker_process import WorkerProcess, serve_task
from inferstream.pipeline.models.files import sha256_of
from inferstream.pipeline.models.manifest import write_manifest
from inferstream.pipeline.models.metrics import Gate
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.models.releases.names import ReleaseName
from inferstream.pipeline.models.releases.registry.opening import open_registry
from inferstream.pipeline.models.releases.registry.promoting import Promoter, change_now
from inferstream.pipeline.models.releases.registry.publishing import publish_release
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.models.releases.release import Origin, Release, StoredFile
from inferstream.pipeline.tasks.triage.head import Head, HeadAccuracy, HeadStore

ALIAS = ReleaseName("triage", "prod")
RELEASES = 4
CALLERS = 64
TEXTS = 60
SOME = 200
"""Answers of a release before the next one comes."""
TICKETS = Path(__file__).parents[1] / "examples" / "tickets.jsonl"
LABELS = tuple(f"label {number}" for number in range(20))


def publish(store: ReleaseStore, folder: Path, number: int) -> str:
    """A release of its own; returns its version."""
    source = ModelRegistry().load("minilm-int8")
    home = folder / f"publisher-{number}"
    model = home / "models" / "minilm"
    model.mkdir(parents=True)
    for path in map(Path, source.digests):
        os.link(path, model / path.name)
    manifest = replace(
        source,
        max_tokens=source.max_tokens - number,
        graph_path=str(model / Path(source.graph_path).name),
        tokenizer_path=str(model / Path(source.tokenizer_path).name),
    )
    write_manifest(manifest, model / "int8.json")
    draw = np.random.default_rng(number)
    head = Head(
        base="minilm-int8",
        encoder_digest=manifest.digest,
        labels=LABELS,
        dimensions=manifest.dimensions,
        weights=draw.normal(0, 3, (manifest.dimensions, len(LABELS))).astype("<f4").tobytes(),
        bias=draw.normal(0, 0.1, len(LABELS)).astype("<f4").tobytes(),
        temperature=1.0,
        measured=HeadAccuracy(80, 20, 0.9, 0.9, 0.1, 0.02),
    )
    HeadStore(home).save("shop", head)
    files = {path.relative_to(home).as_posix(): path for path in sorted(home.rglob("*")) if path.is_file()}
    release = Release(
        task="triage",
        name="shop",
        files={path: StoredFile(sha256_of(place), place.stat().st_size) for path, place in files.items()},
        origin=Origin("benchmarks/swaps.py"),
        labels=LABELS,
        gate=Gate({}, passed=True),
    )
    return publish_release(store, release, files, lambda step, done, total: None).version


def show(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


def p99_ms(load: SwapLoad, from_s: float, to_s: float) -> float:
    """Of the callers that were answered in this time."""
    waits = [one.took_s for one in load.answers if from_s <= one.at_s < to_s]
    return round(float(np.percentile(waits, 99)) * 1e3, 1)


def memory_mb(pid: int) -> float:
    """What the process has in memory."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return round(int(line.split()[1]) / 1e3, 1)


class Place:
    """A registry with releases, and the worker of their alias."""

    def __init__(self, folder: Path, kafka: KafkaConfig) -> None:
        self.registry = folder / "registry"
        store = open_registry(str(self.registry))
        self._promoter = Promoter(store)
        self.versions = [publish(store, folder, number) for number in range(RELEASES)]
        settings = folder / "settings.toml"
        settings.write_text(f'[registry]\nurl = "{self.registry}"\npoll_s = 1.0\n')
        options = ("--kafka", kafka.bootstrap, "--no-cache", "--config", str(settings), "--model", str(ALIAS))
        options += ("--member", "the-one")  # after a kill the group waits for no session timeout
        self._program = serve_task("triage", *options)
        self._folder = folder
        self.promote(0)
        self.worker = self._start()

    def promote(self, number: int) -> str:
        """The version that the alias means now."""
        version = self.versions[number % RELEASES]
        self._promoter.promote(ALIAS, version, change_now(by="benchmark"))
        return version

    def restart(self) -> None:
        """As after kill -9."""
        self.worker.kill()
        self.worker = self._start()

    def _start(self) -> WorkerProcess:
        return WorkerProcess(self._program, log=self._folder / "worker.log", home=self._folder / "worker")


async def run(place: Place, load: SwapLoad, swaps: int, kills: int, calm_s: float) -> dict[str, object]:
    """The figures."""
    await load.until_answered_by(place.versions[0], 500)
    show("calm")
    calm_from = load.now_s
    await asyncio.sleep(calm_s)
    calm_to = load.now_s
    before_mb = memory_mb(place.worker.pid)
    show(f"{swaps} swaps")
    for number in range(1, swaps + 1):
        await load.until_answered_by(place.promote(number), SOME)
    swapped_to = load.now_s
    after_mb = memory_mb(place.worker.pid)
    show(f"{kills} kills")
    moments = random.Random(1)
    for number in range(swaps + 1, swaps + kills + 1):
        version = place.promote(number)
        await asyncio.sleep(moments.uniform(0.2, 2.5))
        place.restart()
        await load.until_answered_by(version, SOME)
    load.end()
    calm, during = p99_ms(load, calm_from, calm_to), p99_ms(load, calm_to, swapped_to)
    in_calm = sum(calm_from <= one.at_s < calm_to for one in load.answers)
    return {
        "swaps": swaps,
        "kills": kills,
        "answers": len(load.answers),
        "lost": len(load.lost),
        "wrong": len(load.wrong),
        "answers/s in the calm": round(in_calm / (calm_to - calm_from), 1),
        "seconds of the swaps": round(swapped_to - calm_to, 1),
        "p99 ms in the calm": calm,
        "p99 ms during the swaps": during,
        "ratio": round(during / calm, 2),
        "memory of the worker, MB, before and after": (before_mb, after_mb),
        "first of lost and wrong": (load.lost[:3], load.wrong[:3]),
    }


async def measured(folder: Path, kafka: KafkaConfig, given: argparse.Namespace) -> dict[str, object]:
    """The figures of a worker that is started for them."""
    place = Place(folder, kafka)
    try:
        texts = [json.loads(line)["text"][:200] for line in TICKETS.read_text("utf-8").splitlines()[:TEXTS]]
        config = Config(registry=RegistryConfig(str(place.registry)))
        expected = await asyncio.to_thread(right_answers, config, place.versions, texts)
        await asyncio.to_thread(place.worker.wait_ready)
        async with (
            KafkaBroker(kafka) as broker,
            Client(broker=broker, prefix=kafka.topic_prefix) as client,
            asyncio.TaskGroup() as tasks,
        ):
            load = SwapLoad(client, texts, expected)
            tasks.create_task(load.run(CALLERS))
            return await run(place, load, given.swaps, given.kills, given.calm_s)
    finally:
        place.worker.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--calm-s", type=float, default=40.0)
    given = parser.parse_args()
    home_folder()  # tells a wrong INFERSTREAM_HOME before anything starts
    with (
        tempfile.TemporaryDirectory(prefix="inferstream-swaps-") as folder,
        tempfile.TemporaryDirectory(prefix="inferstream-kafka-") as data,
        LocalKafka(Path(data), brokers=1, port=0, heap_mb=256) as kafka,
    ):
        config = KafkaConfig(bootstrap=kafka.bootstrap, partitions=4)
        figures = asyncio.run(measured(Path(folder), config, given))
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
