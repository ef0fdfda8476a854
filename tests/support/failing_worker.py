"""A worker whose device fails as the text asks for; run as a program it dies by `kill -9` at a given step."""

import asyncio
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from inferstream.pipeline.broker.base import Broker, Message
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.config import BreakerConfig, Config, KafkaConfig, RetryConfig, WindowConfig
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.crash_note import CrashNote
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.errors import DeviceUnavailable
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from inferstream.pipeline.serving.hosting import one_error
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.serving.task_workers import task_workers
from inferstream.pipeline.telemetry import WorkerMetrics, configure_logging
from inferstream.schemas.topics import Topics
from support.echo import Echo

DEADLY, GONE, HANGS = "\u2620", "\u2600", "\u2622"
RETRIES: Final = RetryConfig(tiers_s=[0], max_attempts=2)
BREAKER: Final = BreakerConfig()
WINDOW: Final = WindowConfig(commit_interval_ms=10, drain_timeout_ms=5_000)


class FailingSession(FakeSession):
    """Ends the process for a row with `DEADLY`, never returns for one with `HANGS`; is unavailable
    for a row with `GONE` or while ``gone``.
    """

    gone = False

    def run(self, feeds: Any) -> Any:
        if (feeds["input_ids"] == ord(DEADLY)).any():
            os.abort()
        if (feeds["input_ids"] == ord(HANGS)).any():
            time.sleep(3_600)
        if self.gone or (feeds["input_ids"] == ord(GONE)).any():
            raise DeviceUnavailable("The device is gone: it is tried again.")
        return super().run(feeds)


def failing_worker(
    broker: Broker,
    crashes: Path,
    topics: Topics,
    *,
    session: FailingSession | None = None,
    window: WindowConfig = WINDOW,
    retries: RetryConfig = RETRIES,
    breaker_config: BreakerConfig = BREAKER,
    partitions: int = 2,
    run_timeout_s: float = 60.0,
    model: str = "echo-small",
) -> Serving:
    """The workers that `task_workers` makes, for the task `echo` and a device that fails; not started."""
    device = Device(
        Encoder(session or FailingSession()),
        Limits(4_096, 64),
        {RUN: Cost((10.0, 0.01, 0.0001, 1e-7))},
        LaneSettings(2, time.monotonic, time.monotonic, run_timeout_s=run_timeout_s),
        note=CrashNote(crashes, 2),
    )
    served = {model: ModelEntry(Echo(model), device)}
    engine = Engine({"echo": served}, memory=None, disk=None, clock=time.monotonic)
    kafka = KafkaConfig(partitions=partitions)
    config = Config(kafka=kafka, window=window, retries=retries, breaker=breaker_config)
    metrics = WorkerMetrics()
    workers = task_workers(config, broker, topics, engine, metrics.of_task(topics.task))
    return Serving(broker, engine, [workers], metrics)


class KillingBroker(EmbeddedBroker):
    """Ends the process at the first record for ``topic``: "before" it is published, or "after" it is durable."""

    def __init__(self, directory: Path, topic: str, when: str) -> None:
        super().__init__(directory)
        self._topic = topic
        self._when = when

    def publish(self, message: Message) -> asyncio.Future[None]:
        if message.topic == self._topic and self._when == "before":
            die()
        published = super().publish(message)
        if message.topic == self._topic:
            published.add_done_callback(lambda _: die())
        return published


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(directory: Path, topic: str = "", when: str = "") -> None:
    """Serve the folder until SIGTERM, or until the first record for ``topic``."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    broker = KillingBroker(directory / "topics", topic, when)
    serving = failing_worker(broker, directory / "crashes", Topics("echo"), run_timeout_s=2.0)

    async def serve() -> None:
        with one_error():
            async with broker:
                await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    configure_logging()
    main(Path(sys.argv[1]), *sys.argv[2:])
