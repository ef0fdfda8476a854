"""A caller that uses our own client while all around it breaks, and counts what it is given."""

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

PREFIX: Final = "customer-"
"""What the ids of these requests begin with."""

PATIENCE_S: Final = 60.0


class Customer:
    """Asks at a steady pace. ``answers`` counts, by id, what came back; ``unanswered`` what did not in a minute."""

    def __init__(self, broker: Broker, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker, self._topics, self._clock = broker, topics, clock
        self.answers: Counter[str] = Counter()
        self.unanswered = 0

    @property
    def doubled(self) -> int:
        """Answers beyond one a request."""
        return self.answers.total() - len(self.answers)

    async def ask(self, per_s: float, until: float) -> None:
        """Ask until that time of the clock, then wait for the last answers. Raises BrokerError."""
        async with Client(broker=self._broker, prefix=self._topics.prefix) as client:
            requests = self._requests(per_s, until)
            answers = client.map(
                self._topics.task, requests, ordered=False, timeout_s=PATIENCE_S, max_in_flight=1_000
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
            yield Request(text=f"where is parcel number {number}?", id=f"{PREFIX}{number}")
            number += 1
            await asyncio.sleep(1 / per_s)
