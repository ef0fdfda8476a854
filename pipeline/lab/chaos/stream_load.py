"""Streaming callers: they read each character once and in order, or leave before the end."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from ....schemas.topics import Topics
from ...broker.base import Broker
from ...client.client import Client
from ...errors import InferstreamError
from .stream_log import ID_PREFIX, StreamLog, text_of

HOW: Final = {"reads": 0.55, "reads slowly": 0.15, "leaves": 0.15, "cancels": 0.15}
"""What callers do, and how often."""

STEPS: Final = (60, 400)
LONG: Final = 6_000
"""Steps of a stream that is left: its answer would take half a minute more."""

LEAVES_AFTER: Final = (1, 60)
"""Pieces that are read before a stream is left."""

TIMEOUT_S: Final = 90.0
SLOW_EVERY: Final = 20
SLOW_S: Final = 0.1


class StreamLoad:
    """Asks for streams at a constant rate, one or two for each key. Counts what callers see in the log."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        log: StreamLog,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._log = log
        self._rng = random.Random(f"{seed}/streams")
        self._clock = clock

    async def send(self, per_s: float, until: float) -> None:
        """Ask until this time of the clock, then wait for the last ends. Raises BrokerError."""
        number = 0
        async with (
            Client(broker=self._broker, prefix=self._topics.prefix) as client,
            asyncio.TaskGroup() as callers,
        ):
            while self._clock() < until:
                how = self._rng.choices(list(HOW), list(HOW.values()))[0]
                callers.create_task(self._call(client, f"{ID_PREFIX}{number}", how))
                number += 1
                await asyncio.sleep(1 / per_s)

    async def _call(self, client: Client, identity: str, how: str) -> None:
        leaves = how in ("leaves", "cancels")
        text = text_of(identity, LONG if leaves else self._rng.randint(*STEPS))
        last = self._rng.randint(*LEAVES_AFTER) if leaves else len(text)
        key = b"stream-%d" % self._rng.randrange(40) if self._rng.random() < 0.5 else None
        self._log.asked(identity, text)
        counts = self._log.counts
        read: list[str] = []
        try:
            # A long answer has no deadline, which it could not meet.
            timeout_s = None if leaves else TIMEOUT_S
            async with (
                asyncio.timeout(2 * TIMEOUT_S),
                client.stream(self._topics.task, text, id=identity, key=key, timeout_s=timeout_s) as stream,
            ):
                async for piece in stream:
                    read.append(piece)
                    if leaves and len(read) == last:
                        self._log.left(identity, how)
                        if how == "leaves":
                            return
                        await client.cancel(identity, task=self._topics.task)
                    if how == "reads slowly" and len(read) % SLOW_EVERY == 0:
                        await asyncio.sleep(SLOW_S)
                if (await stream.answer()).output.text != text:
                    counts.torn += 1
                    return
        except (InferstreamError, TimeoutError) as error:
            code = error.code if isinstance(error, InferstreamError) else "no end"
            wanted = how == "cancels" and len(read) >= last and code == "cancelled"
            if not wanted:
                counts.unanswered[f"{code}, {how}"] += 1
            counts.torn += not text.startswith("".join(read))
            return
        finally:
            counts.torn += leaves and not text.startswith("".join(read))
        counts.read += 1
        counts.torn += "".join(read) != text
