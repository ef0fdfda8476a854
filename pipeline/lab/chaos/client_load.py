"""Load through our own client: it must return exactly one answer for each request."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from ....schemas.messages import Failure, Request
from ....schemas.topics import Topics
from ...broker.base import Broker
from ...client.client import Client

ID_PREFIX: Final = "customer-"
"""The ids of these requests begin with this."""

TIMEOUT_S: Final = 60.0


class ClientLoad:
    """Sends at a constant rate. Counts ``answers`` by id; failures are ``unanswered``."""

    def __init__(self, broker: Broker, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._topics = topics
        self._clock = clock
        self.answers: Counter[str] = Counter()
        self.unanswered = 0

    @property
    def doubled(self) -> int:
        """Answers beyond one for each request."""
        return self.answers.total() - len(self.answers)

    async def send(self, per_s: float, until: float) -> None:
        """Send until this time of the clock, then wait for the last answers. Raises BrokerError."""
        async with Client(broker=self._broker, prefix=self._topics.prefix) as client:
            requests = self._requests(per_s, until)
            answers = client.map(
                self._topics.task, requests, ordered=False, timeout_s=TIMEOUT_S, max_in_flight=1_000
            )
            async with aclosing(answers):
                async for answer in answers:
                    if isinstance(answer, Failure):
                        self.unanswered += 1
                    else:
                        self.answers[answer.reply.id] += 1

    async def _requests(self, per_s: float, until: float) -> AsyncGenerator[Request, None]:
        number = 0
        while self._clock() < until:
            yield Request(text=f"where is parcel number {number}?", id=f"{ID_PREFIX}{number}")
            number += 1
            await asyncio.sleep(1 / per_s)
