"""Client processes that are killed while they speak: what they have asked must end all the same."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ....schemas.topics import Topics
from ...broker.base import Broker, Consumer
from ...config import Config
from ..worker_process import WorkerProcess
from .client_faults import BEGIN_S
from .leaving import READS
from .leaving_speakers import LeavingSpeakers
from .left_requests import LeftRequests

SPEAKERS: Final = 6


class Speaking(NamedTuple):
    """A program whose speakers have names that begin with ``prefix``; ``left`` gets what became of their requests."""

    module: str
    prefix: str
    left: Callable[[LeftRequests], None]


class SpeakerFaults:
    """Kills clients. Their output is in ``folder``."""

    def __init__(
        self, broker: Broker, topics: Topics, config: Config, folder: Path, speaking: Speaking
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._config = config
        self._folder = folder
        self._speaking = speaking
        self._clients = 0

    async def kill_client(self, seconds: float) -> str:
        """Start a client, kill it ``seconds`` after each of its speakers has had an answer, and await the ends of
        its requests. Returns its name.

        Raises BrokerError or InferstreamError if there is no answer.
        """
        name = f"speakers-{self._clients}"
        self._clients += 1
        prefix = f"{self._speaking.prefix}{name}-"
        plan = LeavingSpeakers(self._config.kafka, [f"{prefix}{number}" for number in range(SPEAKERS)])
        path = self._folder / f"{name}.json"
        path.write_bytes(msgspec.json.encode(plan))
        left = LeftRequests(prefix, self._topics.requests, time.monotonic)
        consumer = await self._broker.consume([self._topics.requests, self._topics.replies])
        reading = asyncio.create_task(_read(consumer, left))
        try:
            with WorkerProcess(
                ["-m", self._speaking.module, str(path)], log=self._folder / f"{name}.log", own_session=True
            ) as client:
                await asyncio.to_thread(client.wait_for, READS, BEGIN_S)
                await asyncio.sleep(seconds)
                client.signal(signal.SIGKILL)
            left.killed()
            await reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await consumer.close()
        self._speaking.left(left)
        return name


async def _read(consumer: Consumer, left: LeftRequests) -> None:
    while not left.is_over:
        left.read(await consumer.poll(2_000, 100))
