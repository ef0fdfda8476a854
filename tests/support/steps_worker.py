"""A worker of the task `steps` on a slow fake session; also a program, which a test may kill."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import Config, KafkaConfig, WindowConfig
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.questions import ModelEntry
from inferstream.pipeline.lab.steps import CONTRACT, Steps, StepsModel
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.graph import Graph
from inferstream.pipeline.serving.build import task_workers
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.tasks.catalogue import OURS, TaskCatalogue
from inferstream.pipeline.tasks.definition import Loaded
from inferstream.pipeline.telemetry import Metrics
from inferstream.schemas.topics import Topics

STEP_S = 0.002
LIMITS = Limits(4_096, 64)
WINDOW = WindowConfig(commit_interval_ms=50, drain_timeout_ms=10_000)


class SlowSession(FakeSession):
    """Takes `STEP_S` for each run."""

    def run(self, feeds: Any) -> Any:
        time.sleep(STEP_S)
        return super().run(feeds)


def steps_worker(
    broker: Broker, topics: Topics, graph: Graph | None = None, limits: Limits = LIMITS
) -> Serving:
    """The workers that `task_workers` makes for the task; not started."""
    model = StepsModel(graph or SlowSession())
    costs = {phase: Cost((1.0, 0.01, 0.0001, 1e-7)) for phase in model.phases}
    device = Device(model, limits, costs, LaneSettings(1, time.monotonic, time.monotonic))
    served = {"steps": {"steps": ModelEntry(Steps(), device)}}
    engine = Engine(served, memory=None, disk=None, clock=time.monotonic)
    config = Config(kafka=KafkaConfig(partitions=2, topic_prefix=topics.prefix), window=WINDOW)
    metrics = Metrics()
    workers = task_workers(config, broker, topics, engine, metrics.of_task(topics.task))
    return Serving(broker, engine, [workers], metrics)


class StepsDefinition:
    """The task, as a client knows it."""

    name = "steps"
    contract = CONTRACT
    settings = msgspec.defstruct("StepsSettings", [("model", str, "steps")])

    def load(self, registry: object, model_name: str, settings: Any) -> Loaded:
        raise NotImplementedError


def know_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients know the task by its contract."""
    catalogue = TaskCatalogue([*OURS, StepsDefinition()], [])
    monkeypatch.setattr("inferstream.pipeline.tasks.catalogue.tasks", lambda: catalogue)


@contextmanager
def served_steps(place: str, topics: Topics) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process on a folder, or on the Kafka at an address; it is there when the topics are."""
    command = [sys.executable, "-m", "support.steps_worker", place, topics.prefix]
    with subprocess.Popen(command) as process:
        try:
            asyncio.run(_topics_there(place, topics))
            yield process
        finally:
            process.terminate()


async def _topics_there(place: str, topics: Topics) -> None:
    async with asyncio.timeout(60), broker_at(place) as broker:
        while await broker.partitions(topics.cancels) is None:  # noqa: ASYNC110 - no broker tells it
            await asyncio.sleep(0.05)


def broker_at(place: str) -> Broker:
    """The embedded broker of a folder, or the Kafka at an address."""
    return EmbeddedBroker(Path(place)) if "/" in place else KafkaBroker(KafkaConfig(bootstrap=place))


def main(place: str, prefix: str) -> None:
    """Serve a folder, or the Kafka at an address, until SIGTERM."""
    broker = broker_at(place)
    serving = steps_worker(broker, Topics("steps", prefix))

    async def serve() -> None:
        async with broker:
            await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    main(*sys.argv[1:])
