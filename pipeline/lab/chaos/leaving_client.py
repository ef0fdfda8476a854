"""A client process of a chaos run that reads streams until it is killed. It ends when its input closes."""

import asyncio
import sys
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from ...client.client import Client
from ...config import KafkaConfig
from ..steps_definition import know_steps
from .leaving import LEASE_S, Begin, read_all
from .worker import end_with_input


class LeavingStreams(Struct, frozen=True):
    """The streams of the process: the text of each by its id."""

    kafka: KafkaConfig
    task: str
    texts: dict[str, str]


async def read(streams: LeavingStreams) -> None:
    """Read all streams; each has begun when it has brought a piece."""

    async def follow(client: Client, identity: str, begin: Begin) -> None:
        text = streams.texts[identity]
        stream = client.stream(streams.task, text, id=identity, timeout_s=None, lease_s=LEASE_S)
        async with stream:
            async for _ in stream:
                begin()

    await read_all(streams.kafka, streams.texts, follow)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    know_steps()
    asyncio.run(read(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LeavingStreams)))
