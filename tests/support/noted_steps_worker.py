"""A program: a worker of the task `steps` that notes each step in a file, and may end by `kill -9` at a reply."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from inferstream.pipeline.broker.base import Broker, Message
from inferstream.pipeline.broker.embedded.broker import EmbeddedBroker
from inferstream.pipeline.broker.kafka.broker import KafkaBroker
from inferstream.pipeline.config import KafkaConfig
from inferstream.pipeline.runtime.fake_session import FakeSession
from inferstream.pipeline.serving.hosting import one_error
from inferstream.pipeline.serving.shutdown import run_until_signaled
from inferstream.pipeline.telemetry import configure_logging
from inferstream.schemas.topics import Topics
from support.steps_worker import steps_worker

STEP_S: Final = 0.02


class NotedSteps:
    """A graph that notes the characters of each step, one line for a step, and takes `STEP_S` for it."""

    def __init__(self, file: Path) -> None:
        self._session = FakeSession()
        self._file = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def run(self, feeds: Any) -> Any:
        made = self._session.run(feeds)
        ids = feeds["input_ids"]
        if ids.any():  # the phase `start` makes no characters
            os.write(self._file, "".join(map(chr, np.sort(ids[:, 0]))).encode() + b"\n")
        time.sleep(STEP_S)
        self._session.runs.clear()
        return made


def die_after_a_reply(broker: Broker, topic: str) -> None:
    """From now on the process ends by `kill -9` when the first record for ``topic`` is durable."""
    publish = broker.publish

    def publish_and_die(message: Message) -> "asyncio.Future[None]":
        published = publish(message)
        if message.topic == topic:
            published.add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGKILL))
        return published

    broker.publish = publish_and_die  # type: ignore[method-assign]


def a_broker(place: str) -> Broker:
    """The one in a folder, or the Kafka at an address."""
    if "/" in place:
        return EmbeddedBroker(Path(place))
    return KafkaBroker(KafkaConfig(bootstrap=place, heartbeat_ms=100))


def main(place: str, prefix: str, notes: Path, ending: str = "") -> None:
    """Serve until SIGTERM; with ``ending`` "dies" until the first reply."""
    broker = a_broker(place)
    topics = Topics("steps", prefix)
    if ending == "dies":
        die_after_a_reply(broker, topics.replies)
    serving = steps_worker(broker, topics, NotedSteps(notes))

    async def serve() -> None:
        with one_error():
            async with broker:
                await serving.run()

    run_until_signaled(serve, serving.drain, 10)


if __name__ == "__main__":
    configure_logging()
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
