"""A worker of the task `translate` that writes in capitals, slowly; also a program, which a test may kill."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from inferstream.pipeline.broker.base import Broker
from inferstream.pipeline.config import Config, KafkaConfig, RetryConfig, WindowConfig
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.lab.worker_process import WorkerProcess
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN, Row
from inferstream.pipeline.serving.serving import Serving
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.serving.task_workers import task_workers
from inferstream.pipeline.tasks.base import Ask, Finished
from inferstream.pipeline.tasks.options import checked_options
from inferstream.pipeline.tasks.text import TextTask
from inferstream.pipeline.telemetry import WorkerMetrics, configure_logging
from inferstream.schemas.topics import Topics
from inferstream.schemas.translation import TranslateOptions, TranslateOutput
from support.steps_worker import broker_at

RUN_S: Final = 0.02
SLOW: Final = "~"
"""A text with this character keeps the device until `release` was called."""


class Capitals(TextTask):
    """The task: the translation of a text is the text in capitals."""

    name = "translate"
    model = "capitals"
    version = "1"
    digest = b"capitals"

    def options(self, given: Mapping[str, Any]) -> TranslateOptions:
        return checked_options(self.name, given, TranslateOptions)

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        return [[Row([ord(char) for char in ask.content])] for ask in asks]

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        return [self._answer(one) for one in finished]

    def _answer(self, one: Finished) -> bytes:
        text = "".join(map(chr, one.rows[0].tokens)).upper()
        prefix: str = one.options.prefix
        return msgspec.json.encode(TranslateOutput(prefix + text[len(prefix) :], "en", "pt"))


def release(notes: Path) -> None:
    """Let texts with `SLOW` pass."""
    _released(notes).touch()


def _released(notes: Path) -> Path:
    return notes.with_suffix(".released")


class NotedSession(FakeSession):
    """Notes each text that reaches the device, one a line."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self._released = _released(notes)
        self._notes = os.open(notes, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def run(self, feeds: Any) -> Any:
        texts = ["".join(map(chr, row)).rstrip("\0") for row in feeds["input_ids"].tolist()]
        os.write(self._notes, "".join(f"{text}\n" for text in texts).encode())
        while any(SLOW in text for text in texts) and not self._released.exists():
            time.sleep(RUN_S)
        time.sleep(RUN_S)
        made = super().run(feeds)
        self.runs.clear()
        return made


def captions_worker(broker: Broker, topics: Topics, notes: Path) -> Serving:
    """The workers of the task with one lane, batches of one row and no cache; not started."""
    config = Config(
        kafka=KafkaConfig(
            partitions=2, topic_prefix=topics.prefix, heartbeat_ms=100, session_timeout_ms=6_000
        ),
        window=WindowConfig(commit_interval_ms=50),
        retries=RetryConfig(tiers_s=[1], max_attempts=3),
    )
    cost = Cost((1.0, 0.01, 0.0001, 1e-7))
    lane = LaneSettings(1, time.monotonic, time.monotonic)
    device = Device(Encoder(NotedSession(notes)), Limits(4_096, 1), {RUN: cost}, lane)
    served = {Capitals.name: {Capitals.model: ModelEntry(Capitals(), device)}}
    engine = Engine(served, memory=None, disk=None, clock=time.monotonic)
    metrics = WorkerMetrics()
    workers = task_workers(config, broker, topics, engine, metrics.of_task(Capitals.name))
    return Serving(broker, engine, [workers], metrics)


def start_captions_worker(place: str, topics: Topics, notes: Path, log: Path) -> WorkerProcess:
    """A worker process on a folder, or on the Kafka at an address."""
    return WorkerProcess(["-m", "support.captions_worker", place, topics.prefix, str(notes)], log=log)


async def topics_there(broker: Broker, topics: Topics) -> None:
    """Wait until a worker has made the topics."""
    while await broker.partitions(topics.cancels) is None:  # noqa: ASYNC110 - no broker tells it
        await asyncio.sleep(0.05)


@contextmanager
def captions_served(place: str, topics: Topics, notes: Path, log: Path) -> Iterator[WorkerProcess]:
    """A worker process; it is there when the topics are."""

    async def there() -> None:
        async with asyncio.timeout(60), broker_at(place) as broker:
            await topics_there(broker, topics)

    with start_captions_worker(place, topics, notes, log) as process:
        asyncio.run(there())
        yield process


def main(place: str, prefix: str, notes: str) -> None:
    """Serve until SIGTERM."""
    broker = broker_at(place)
    serving = captions_worker(broker, Topics("translate", prefix), Path(notes))

    async def serve() -> None:
        async with broker:
            await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    configure_logging()
    main(*sys.argv[1:4])
