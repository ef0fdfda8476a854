"""A client process of a chaos run of speakers that speak until it is killed. It ends when its input closes."""

import asyncio
import random
import sys
import threading
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ...client.captions.stream import Partial
from ...client.client import Client
from ...config import KafkaConfig
from .caption_load import PARTS, SENTENCES, SOURCE, TARGET
from .leaving import LEASE_S, Begin, read_all
from .worker import end_with_input

PART_S: Final = 0.2
"""They speak quickly, so that some requests are on their way when the process is killed."""


class LeavingSpeakers(Struct, frozen=True):
    """The speakers of the process, by the names of their streams or conversations."""

    kafka: KafkaConfig
    names: list[str]


async def said(name: str) -> AsyncIterator[str | Partial]:
    """What a speaker says, without end."""
    rng = random.Random(name)
    for number in count(100):
        words = rng.choice(SENTENCES).format(number).split()
        for part in range(1, PARTS):
            yield Partial(" ".join(words[: len(words) * part // PARTS]))
            await asyncio.sleep(PART_S)
        yield " ".join(words)
        await asyncio.sleep(PART_S)


async def read(speakers: LeavingSpeakers) -> None:
    """Read all captions; a speaker has begun who has had a final."""

    async def follow(client: Client, name: str, begin: Begin) -> None:
        stream = client.translate_stream(SOURCE, TARGET, said(name), name=name, lease_s=LEASE_S)
        async with stream:
            async for caption in stream:
                if caption.final:
                    begin()

    await read_all(speakers.kafka, speakers.names, follow)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    asyncio.run(read(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LeavingSpeakers)))
