"""A worker of the task `steps` on a slow fake session; also a program, which a test may kill."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import (
    CacheConfig,
    Config,
    KafkaConfig,
    LimitConfig,
    RetryConfig,
    WindowConfig,
)
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.lab.steps import StepsModel
from inferstream.pipeline.lab.steps_definition import StepsDefinition
from inferstream.pipeline.lab.steps_serving import LIMITS, steps_serving
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.graph import Graph
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.tasks.catalogue import OURS, TaskCatalogue
from inferstream.schemas.topics import Topics

STEP_S = 0.002
RETRIES = RetryConfig(tiers_s=[1], max_attempts=3)
WINDOW = WindowConfig(commit_interval_ms=50, drain_timeout_ms=10_000)


ENDS = "\N{SKULL AND CROSSBONES}"
"""A step that makes this character ends the process."""


class SlowSession(FakeSession):
    """Takes `STEP_S` for each run. With ``dies``, the process ends at a step that makes `ENDS`."""

    def __init__(self, *, dies: bool = False) -> None:
        super().__init__()
        self._dies = dies

    def run(self, feeds: Any) -> Any:
        time.sleep(STEP_S)
        if self._dies and (feeds["input_ids"] == ord(ENDS)).any():
            os.kill(os.getpid(), signal.SIGKILL)
        made = super().run(feeds)
        self.runs.clear()
        return made


def steps_worker(
    broker: Broker,
    topics: Topics,
    graph: Graph | None = None,
    limits: Limits = LIMITS,
    notes: Path | None = None,
    unread_s: float = 60.0,
) -> Serving:
    """The workers of the task, without a cache; not started. ``notes``: the folder of the crash note."""
    config = Config(
        kafka=KafkaConfig(partitions=2, topic_prefix=topics.prefix),
        window=WINDOW,
        limits=LimitConfig(unread_s=unread_s),
        retries=RETRIES,
        cache=CacheConfig(enabled=False),
    )
    return steps_serving(config, broker, StepsModel(graph or SlowSession()), limits=limits, notes=notes)


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
            asyncio.run(topics_there(place, topics))
            yield process
        finally:
            process.terminate()


async def topics_there(place: str, topics: Topics) -> None:
    """Wait until a worker has made the topics."""
    async with asyncio.timeout(60), broker_at(place) as broker:
        while await broker.partitions(topics.cancels) is None:  # noqa: ASYNC110 - no broker tells it
            await asyncio.sleep(0.05)


def broker_at(place: str) -> Broker:
    """The embedded broker of a folder, or the Kafka at an address."""
    return EmbeddedBroker(Path(place)) if "/" in place else KafkaBroker(KafkaConfig(bootstrap=place))


def main(
    place: str, prefix: str, notes: Path | None = None, session: type[SlowSession] = SlowSession
) -> None:
    """Serve a folder, or the Kafka at an address, until SIGTERM; ``notes`` is the folder of the crash note."""
    broker = broker_at(place)
    serving = steps_worker(broker, Topics("steps", prefix), session(dies=True), notes=notes)

    async def serve() -> None:
        async with broker:
            await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(Path, sys.argv[3:]))
