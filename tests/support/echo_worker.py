"""A worker of the task `echo` on an embedded broker, and a program that hosts it with a fault."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any, Final

from inferstream.pipeline.broker.base import Message
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.cli.failures import print_failure
from inferstream.pipeline.config import KafkaConfig, LimitConfig, WindowConfig
from inferstream.pipeline.delivery.members import Members
from inferstream.pipeline.delivery.window import Window
from inferstream.pipeline.delivery.worker import Subscription, Worker
from inferstream.pipeline.engine.batching import Limits
from inferstream.pipeline.engine.cost import Cost
from inferstream.pipeline.engine.device import Device
from inferstream.pipeline.engine.engine import Engine
from inferstream.pipeline.engine.lanes import LaneSettings
from inferstream.pipeline.engine.model_entry import ModelEntry
from inferstream.pipeline.errors import BrokerError
from inferstream.pipeline.runtime.encoder import Encoder
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.runtime.model import RUN
from inferstream.pipeline.serving.hosting import Hosted, run_alone
from inferstream.pipeline.serving.serving import Serving, TaskWorkers
from inferstream.pipeline.serving.topics import topic_specs
from inferstream.pipeline.telemetry import WorkerMetrics, configure_logging
from inferstream.workers.app import run
from support.echo import Echo
from support.handler_rig import TOPICS, handler_over

log = logging.getLogger(__name__)
Background = Callable[[], Coroutine[Any, Any, None]]


def echo_worker(
    directory: Path,
    session: FakeSession,
    *,
    background: Collection[Background] = (),
    drain_timeout_ms: int = 10_000,
) -> Hosted:
    """A worker for the task `echo` over the folder, not started."""
    device = Device(
        Encoder(session),
        Limits(4_096, 64),
        {RUN: Cost((10.0, 0.01, 0.0001, 1e-7))},
        LaneSettings(1, time.monotonic, time.monotonic),
    )
    engine = Engine(
        {"echo": {"echo-small": ModelEntry(Echo(), device)}},
        memory=None,
        disk=None,
        clock=time.monotonic,
    )
    broker, metrics = EmbeddedBroker(directory), WorkerMetrics()
    of_task = metrics.of_task("echo")
    handler = handler_over(
        engine,
        limits=LimitConfig(),
        partitions=broker.partitions,
        metrics=of_task,
        wall_clock=time.time,
    )
    window = Window(WindowConfig(drain_timeout_ms=drain_timeout_ms), broker.publish)
    subscription = Subscription([TOPICS.requests], "echo")
    worker = Worker(broker, handler, window, subscription, background)
    workers = TaskWorkers("echo", worker, [], topic_specs(TOPICS, KafkaConfig(partitions=1)), Members("echo"))
    serving = Serving(broker, engine, [workers], metrics)
    return Hosted(broker, serving, drain_timeout_ms)


async def lost_disk() -> None:
    raise BrokerError("The disk is full: free some space.")


async def defect() -> None:
    raise RuntimeError("a defect")


FAULTS: Final[dict[str, list[Background]]] = {
    "none": [],
    "broker": [lost_disk],
    "both": [lost_disk, lost_disk],
    "defect": [defect],
}


def hosted_with(fault: str, directory: Path) -> Hosted:
    """A worker with the fault of that name, which begins once it serves."""
    session = FakeSession()

    async def hang() -> None:
        session.stall()
        await hosted.broker.publish(Message(TOPICS.requests, b'{"text":"hello"}'))
        await asyncio.to_thread(session.wait_for_runs, 1)
        log.info("The device hangs.")

    async def fail_and_hang() -> None:
        await hang()
        await asyncio.sleep(1)  # longer than the interval at which `Hosted` checks the worker
        await lost_disk()

    background = {"hang": [hang], "fail and hang": [fail_and_hang]}.get(fault) or FAULTS[fault]
    hosted = echo_worker(directory, session, background=background, drain_timeout_ms=1_000)
    return hosted


def main(host: str, fault: str, directory: Path) -> int:
    """Host a worker until a signal or its fault ends it, and return the exit status."""
    hosted = hosted_with(fault, directory)
    try:
        if host == "faust":
            run(hosted, web_host="127.0.0.1", web_port=0)
        else:
            run_alone(hosted)
    except BaseException as error:
        return print_failure(error)
    return 0


if __name__ == "__main__":
    configure_logging()
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
