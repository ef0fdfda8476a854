"""A chain of two fake tasks, `echo` and then `steps`, each on a fake device; also a program, which a test may kill."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
import pytest

from inferstream.pipeline.broker.base import Broker, Message
from inferstream.pipeline.config import ChainConfig, Config, KafkaConfig, StepConfig
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cache.memory import MemoryCache
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.lab.steps import Steps, StepsModel
from inferstream.pipeline.lab.steps_definition import StepsDefinition
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN, Model
from inferstream.pipeline.serving.build import step_workers
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.serving.task_workers import task_workers
from inferstream.pipeline.tasks import catalogue
from inferstream.pipeline.tasks.catalogue import OURS, TaskCatalogue, tasks
from inferstream.pipeline.telemetry import WorkerMetrics
from inferstream.schemas.contract import Contract
from inferstream.schemas.topics import Topics
from support.echo import Echo, EchoOptions
from support.steps_worker import RETRIES, WINDOW, broker_at

CHAIN: Final = "echo-steps"
LIMITS: Final = Limits(4_096, 64)
FAILS: Final = "\x07"
"""A text with it fails in the first step."""


class EchoOutput(msgspec.Struct, frozen=True):
    echo: str


class EchoDefinition:
    """The task `echo` for the catalogue."""

    name = "echo"
    contract = Contract(EchoOptions, EchoOutput)
    settings = msgspec.defstruct("EchoSettings", [("model", str, "echo-small")])

    def load(self, registry: object, model_name: str, settings: Any) -> Any:
        """There is nothing on disk to load."""
        raise NotImplementedError


def know_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue of this process knows both tasks."""
    known = TaskCatalogue([*OURS, EchoDefinition(), StepsDefinition()], [])
    monkeypatch.setattr(catalogue, "tasks", lambda: known)
    monkeypatch.setattr("inferstream.pipeline.tasks.chains.declared.tasks", lambda: known)


def chain_config(prefix: str, **settings: Any) -> Config:
    """Settings that declare the chain."""
    chain = ChainConfig(["echo", StepConfig("steps", text="{output.echo}")])
    given: dict[str, Any] = {
        "kafka": KafkaConfig(partitions=2, topic_prefix=prefix),
        "window": WINDOW,
        "retries": RETRIES,
        "chains": {CHAIN: chain},
    }
    return Config(**given | settings)


def chain_serving(
    config: Config,
    broker: Broker,
    served: Collection[str],
    sessions: dict[str, FakeSession] | None = None,
    more: Mapping[str, dict[str, ModelEntry]] | None = None,
) -> Serving:
    """Workers of the tasks ``served`` and of their steps, as `build_worker` makes them; not started.

    ``more``: models of further tasks.
    """
    graphs = sessions or {}
    echo = Encoder(graphs.get("echo", FakeSession()))
    steps = StepsModel(graphs.get("steps", FakeSession()))
    known: dict[str, dict[str, ModelEntry]] = {
        **(more or {}),
        "echo": {"echo-small": ModelEntry(Echo(max_tokens=2_000), _device(echo))},
        "steps": {"steps": ModelEntry(Steps(), _device(steps))},
    }
    memory = MemoryCache(config.cache.memory_bytes) if config.cache.enabled else None
    models = {name: known[name] for name in served}
    engine = Engine(models, memory=memory, disk=None, clock=time.monotonic)
    metrics = WorkerMetrics()
    prefix = config.kafka.topic_prefix
    of_tasks = [
        task_workers(config, broker, Topics(name, prefix), engine, metrics.of_task(name)) for name in served
    ]
    of_tasks += step_workers(config, broker, engine, metrics, served)
    return Serving(broker, engine, of_tasks, metrics)


def _device(model: Model) -> Device:
    costs = {phase: Cost((1.0, 0.01, 0.0001, 1e-7)) for phase in getattr(model, "phases", [RUN])}
    return Device(model, LIMITS, costs, LaneSettings(1, time.monotonic, time.monotonic))


def ends_at(broker: Broker, topic: str, count: int) -> None:
    """From now on the process ends by `kill -9` when ``count`` records for ``topic`` are durable, before a commit."""
    publish = broker.publish
    durable = 0

    def end(published: "asyncio.Future[None]") -> None:
        nonlocal durable
        durable += not published.cancelled() and published.exception() is None
        if durable >= count:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(message: Message) -> "asyncio.Future[None]":
        published = publish(message)
        if message.topic == topic:
            published.add_done_callback(end)
        return published

    broker.publish = counted  # type: ignore[method-assign]


def main(place: str, prefix: str, served: str, topic: str = "", count: str = "1") -> None:
    """Serve one task, or several joined by commas, on a folder or on the Kafka at an address, until SIGTERM.

    With a ``topic``, until ``count`` records for it are durable.
    """
    for one in (EchoDefinition(), StepsDefinition()):
        tasks().include(one)
    broker = broker_at(place)
    if topic:
        ends_at(broker, topic, int(count))
    serving = chain_serving(chain_config(prefix), broker, served.split(","))

    async def serve() -> None:
        async with broker:
            await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    main(*sys.argv[1:])
