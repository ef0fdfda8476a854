"""Where the demo runs: all in this process, on a real Kafka with worker processes of its own, or with yours."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple, Protocol

from msgspec import structs

from ....schemas.topics import Topics
from ...broker.base import Broker
from ...broker.kafka.broker import KafkaBroker
from ...client.client import Client
from ...config import NEW_PARTITIONS, Config, KafkaConfig
from ...errors import BrokerError
from ..worker_process import WorkerProcess, serve_task

TASK: Final = "triage"
READY_S: Final = 60.0
DRAIN_S: Final = 20.0
LOOK_AGAIN_S: Final = 0.5


class Report(Protocol):
    """Told how the pipeline comes up."""

    def busy(self, words: str) -> None:
        """What is being done, until the next call."""
        ...

    def ready(self, sentence: str) -> None:
        """What is there now."""
        ...


class Place(NamedTuple):
    """A pipeline that is up; ``workers`` are those that can be asked what they did."""

    broker: Broker
    client: Client
    topics: Topics
    workers: list[WorkerProcess]


@asynccontextmanager
async def in_this_process(config: Config, report: Report) -> AsyncGenerator[Place]:
    """Embedded broker, worker and client in this process; the topics are gone afterwards."""
    from ...serving.edge import Edge

    edge = Edge(structs.replace(config, cache=structs.replace(config.cache, disk_bytes=0)), task=TASK)
    report.busy(f"Loading {config.triage.model}")
    partitions = config.kafka.partitions or NEW_PARTITIONS
    async with edge as client:
        report.ready(f"The embedded broker has the topics, with {partitions} partitions each.")
        report.ready(f"A worker in this process serves {config.triage.model}.")
        yield Place(edge.broker, client, Topics(TASK, config.kafka.topic_prefix), [])


@asynccontextmanager
async def on_local_kafka(config: Config, report: Report, workers: int) -> AsyncGenerator[Place]:
    """A real Kafka on this machine and worker processes; all of it ends with the demo."""
    from ...kafka_local.cluster import LocalKafka

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="inferstream-demo-")))
        report.busy("Starting a real Kafka")
        kafka = LocalKafka(
            folder / "kafka",
            port=0,
            progress=lambda got, of: report.busy(f"Fetching Kafka: {got} of {of} jars"),
        )
        began = time.monotonic()
        stack.push_async_callback(asyncio.to_thread, kafka.stop)
        await asyncio.to_thread(kafka.start)
        report.ready(f"A real Kafka runs at {kafka.bootstrap}, up after {time.monotonic() - began:.1f} s.")
        settings = structs.replace(config.kafka, bootstrap=kafka.bootstrap)
        report.busy(f"Starting {workers} worker processes")
        crew = [
            stack.enter_context(_worker(settings, folder / f"worker-{number}"))
            for number in range(1, workers + 1)
        ]
        await asyncio.gather(*(asyncio.to_thread(worker.wait_ready, READY_S) for worker in crew))
        partitions = settings.partitions or NEW_PARTITIONS
        report.ready(f"{workers} worker processes share the {partitions} partitions of the request topic.")
        broker = await stack.enter_async_context(KafkaBroker(settings))
        client = await stack.enter_async_context(Client(broker=broker, prefix=settings.topic_prefix))
        yield Place(broker, client, Topics(TASK, settings.topic_prefix), crew)
        for worker in crew:
            worker.signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(worker.wait, DRAIN_S) for worker in crew))


@asynccontextmanager
async def with_your_workers(config: Config, report: Report) -> AsyncGenerator[Place]:
    """The Kafka of the settings, and the workers that serve it. Waits for them. Raises BrokerError."""
    settings = config.kafka
    topics = Topics(TASK, settings.topic_prefix)
    async with KafkaBroker(settings) as broker, Client(broker=broker, prefix=settings.topic_prefix) as client:
        report.ready(f"Connected to Kafka at {settings.bootstrap}.")
        report.busy("Waiting for the topics, which workers make")
        end = time.monotonic() + READY_S
        while await broker.partitions(topics.dead_letters) is None:  # the last one that a worker makes
            if time.monotonic() > end:
                raise BrokerError(
                    f"There is no topic {topics.requests} after {READY_S:g} s: start a worker, which makes it: "
                    f"`inferstream worker {TASK} --kafka {settings.bootstrap}`."
                )
            await asyncio.sleep(LOOK_AGAIN_S)
        report.ready(f"The topics of {TASK} are there: workers made them.")
        yield Place(broker, client, topics, [])


def _worker(settings: KafkaConfig, folder: Path) -> WorkerProcess:
    folder.mkdir()
    arguments = serve_task(
        TASK,
        *("--kafka", settings.bootstrap),
        *("--topic-prefix", settings.topic_prefix),
        *("--cache-dir", str(folder)),
    )
    return WorkerProcess(arguments, log=folder / "log")
