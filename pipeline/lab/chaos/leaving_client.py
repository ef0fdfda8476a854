"""A client process of a chaos run that reads streams until it is killed. It ends when its input closes."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ...broker.kafka.broker import KafkaBroker
from ...client.client import Client
from ...config import KafkaConfig
from ..steps_definition import know_steps
from .worker import end_with_input

READS: Final = "All streams have begun."
LEASE_S: Final = 2.0


class LeavingStreams(Struct, frozen=True):
    """The streams of the process: the text of each by its id."""

    kafka: KafkaConfig
    task: str
    texts: dict[str, str]


async def read(streams: LeavingStreams) -> None:
    """Read all streams; write `READS` when each has brought a piece."""
    begun: set[str] = set()

    async def follow(client: Client, identity: str, text: str) -> None:
        stream = client.stream(streams.task, text, id=identity, timeout_s=None, lease_s=LEASE_S)
        async with stream:
            async for _ in stream:
                if identity not in begun:
                    begun.add(identity)
                    if len(begun) == len(streams.texts):
                        sys.stdout.write(f"{READS}\n")
                        sys.stdout.flush()

    async with (
        KafkaBroker(streams.kafka) as broker,
        Client(broker=broker, prefix=streams.kafka.topic_prefix) as client,
        asyncio.TaskGroup() as reading,
    ):
        for identity, text in streams.texts.items():
            reading.create_task(follow(client, identity, text))


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    know_steps()
    asyncio.run(read(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LeavingStreams)))
