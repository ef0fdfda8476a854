"""Where the demo runs: in this process, on a local Kafka, or with workers that exist already."""

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

READY_S: Final = 60.0
START_S: Final = 180.0
"""For workers to load their models: both do at once, with two cores for all."""
DRAIN_S: Final = 20.0
POLL_S: Final = 0.5


class StartupScreen(Protocol):
    """Shows how the pipeline starts."""

    def busy(self, words: str) -> None:
        """Show the step that runs until the next call."""
        ...

    def ready(self, sentence: str) -> None:
        """Show what has started."""
        ...


class DemoTask(NamedTuple):
    """The task of a demo, and the names of the models that answer."""

    task: str
    models: tuple[str, ...]


class DemoSite(NamedTuple):
    """A running pipeline. ``workers`` are the processes that this demo has started."""

    broker: Broker
    client: Client
    workers: list[WorkerProcess]


@asynccontextmanager
async def in_this_process(config: Config, screen: StartupScreen, shown: DemoTask) -> AsyncGenerator[DemoSite]:
    """Embedded broker, worker and client in this process. The topics are deleted afterwards."""
    from ...serving.edge import Edge

    without_disk = structs.replace(config, cache=structs.replace(config.cache, disk_bytes=0))
    edge = Edge(without_disk, task=shown.task, models=shown.models)
    models = " and ".join(shown.models)
    screen.busy(f"Loading {models}")
    partitions = config.kafka.partitions or NEW_PARTITIONS
    async with edge as client:
        screen.ready(f"The embedded broker has the topics, with {partitions} partitions each.")
        screen.ready(f"A worker in this process serves {models}.")
        yield DemoSite(edge.broker, client, [])


@asynccontextmanager
async def on_local_kafka(
    config: Config, screen: StartupScreen, shown: DemoTask, workers: int
) -> AsyncGenerator[DemoSite]:
    """A local Kafka and worker processes, which end with the demo."""
    from ...kafka_local.cluster import LocalKafka

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="inferstream-demo-")))
        screen.busy("Starting a real Kafka")
        kafka = LocalKafka(
            folder / "kafka",
            port=0,
            progress=lambda got, of: screen.busy(f"Fetching Kafka: {got} of {of} jars"),
        )
        began = time.monotonic()
        stack.push_async_callback(asyncio.to_thread, kafka.stop)
        await asyncio.to_thread(kafka.start)
        screen.ready(f"A real Kafka runs at {kafka.bootstrap}, started in {time.monotonic() - began:.1f} s.")
        settings = structs.replace(config.kafka, bootstrap=kafka.bootstrap)
        yield await stack.enter_async_context(with_workers(settings, screen, shown, workers, folder))


@asynccontextmanager
async def with_workers(
    settings: KafkaConfig, screen: StartupScreen, shown: DemoTask, workers: int, folder: Path
) -> AsyncGenerator[DemoSite]:
    """Worker processes on the Kafka of the settings, which end with the demo. Their logs are in ``folder``."""
    async with AsyncExitStack() as stack:
        screen.busy(f"Starting {workers} worker processes")
        processes = [
            stack.enter_context(_worker(settings, shown, folder / f"worker-{number}"))
            for number in range(1, workers + 1)
        ]
        await asyncio.gather(*(asyncio.to_thread(worker.wait_ready, START_S) for worker in processes))
        partitions = settings.partitions or NEW_PARTITIONS
        screen.ready(f"{workers} worker processes share the {partitions} partitions of the request topic.")
        broker = await stack.enter_async_context(KafkaBroker(settings))
        client = await stack.enter_async_context(Client(broker=broker, prefix=settings.topic_prefix))
        yield DemoSite(broker, client, processes)
        for worker in processes:
            worker.signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(worker.wait, DRAIN_S) for worker in processes))


@asynccontextmanager
async def with_your_workers(config: Config, screen: StartupScreen, task: str) -> AsyncGenerator[DemoSite]:
    """The Kafka of the settings. Raises BrokerError when no worker creates the topics in time."""
    settings = config.kafka
    topics = Topics(task, settings.topic_prefix)
    async with KafkaBroker(settings) as broker, Client(broker=broker, prefix=settings.topic_prefix) as client:
        screen.ready(f"Connected to Kafka at {settings.bootstrap}.")
        screen.busy("Waiting for the topics, which workers create")
        end = time.monotonic() + READY_S
        while await broker.partitions(topics.dead_letters) is None:  # the last one that a worker creates
            if time.monotonic() > end:
                raise BrokerError(
                    f"There is no topic {topics.requests} after {READY_S:g} s. Start a worker, which creates it: "
                    f"`inferstream worker {task} --kafka {settings.bootstrap}`."
                )
            await asyncio.sleep(POLL_S)
        screen.ready(f"The topics of {task} exist: a worker has created them.")
        yield DemoSite(broker, client, [])


def _worker(settings: KafkaConfig, shown: DemoTask, folder: Path) -> WorkerProcess:
    folder.mkdir()
    arguments = serve_task(
        shown.task,
        *(word for model in shown.models for word in ("--model", model)),
        *("--kafka", settings.bootstrap),
        *("--topic-prefix", settings.topic_prefix),
        *("--cache-dir", str(folder)),
    )
    return WorkerProcess(arguments, log=folder / "log")
