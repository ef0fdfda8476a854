"""What the client processes share that a chaos run kills: they read answers until then."""

import asyncio
import sys
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, Final

from ...broker.kafka.broker import KafkaBroker
from ...client.client import Client
from ...config import KafkaConfig

READS: Final = "All streams have begun."
LEASE_S: Final = 2.0

Begin = Callable[[], None]
Follow = Callable[[Client, str, Begin], Coroutine[Any, Any, None]]


async def read_all(kafka: KafkaConfig, names: Collection[str], follow: Follow) -> None:
    """Call ``follow`` for each name, side by side. Write `READS` when each has called the function that it gets."""
    begun: set[str] = set()

    def begin(name: str) -> None:
        if name not in begun:
            begun.add(name)
            if len(begun) == len(names):
                sys.stdout.write(f"{READS}\n")
                sys.stdout.flush()

    async with (
        KafkaBroker(kafka) as broker,
        Client(broker=broker, prefix=kafka.topic_prefix) as client,
        asyncio.TaskGroup() as reading,
    ):
        for name in names:
            reading.create_task(follow(client, name, partial(begin, name)))
