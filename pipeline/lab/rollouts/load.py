"""A steady load of tickets on Kafka, some of them with a label, and what came of each."""

import asyncio
import time
from collections import Counter, defaultdict
from typing import Final

import msgspec

from ....schemas.codec import decode_reply
from ....schemas.messages import Chunk, Result
from ....schemas.topics import Topics
from ...broker.base import Broker, Message
from .versions import is_drawn, right_label

CUSTOMERS: Final = 500
"""Keys."""


class TicketLoad:
    """Sends ``rate`` tickets a second, each with its own text, and collects the replies.

    Attributes:
        sent: the key of each request by its id.
        ended: how often each request ended.
        releases: the versions that answered, by key.
        failures: the codes of failures.
    """

    def __init__(self, broker: Broker, topics: Topics, rate: float, labeled: float = 0.0) -> None:
        self._broker = broker
        self._topics = topics
        self._rate = rate
        self._labeled = labeled
        self.sent: dict[str, str] = {}
        self.ended: Counter[str] = Counter()
        self.releases: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: Counter[str] = Counter()
        self._stopping = False

    @property
    def answers(self) -> Counter[str]:
        """The number of answers by version."""
        return sum(self.releases.values(), Counter())

    @property
    def lost(self) -> list[str]:
        """Requests that have not ended."""
        return [identity for identity in self.sent if not self.ended[identity]]

    async def run(self) -> None:
        """Send until `stop`, then wait until all have ended."""
        reader = await self._broker.consume([self._topics.replies], start="latest")
        sending = asyncio.create_task(self._send())
        try:
            while not sending.done() or self.lost:
                for record in await reader.poll(500, 100):
                    self._take(record.value or b"")
            await sending
        finally:
            sending.cancel()
            await reader.close()

    def stop(self) -> None:
        """Send no more."""
        self._stopping = True

    async def _send(self) -> None:
        began = time.monotonic()
        while not self._stopping:
            due = round((time.monotonic() - began) * self._rate)
            while len(self.sent) < due:
                self._send_one(len(self.sent))
            await asyncio.sleep(0.005)

    def _send_one(self, number: int) -> None:
        text = f"ticket {number}"
        key = f"customer-{number * 7_919 % CUSTOMERS}"
        self.sent[str(number)] = key
        body = {"id": str(number), "text": text}
        self._broker.publish(Message(self._topics.requests, msgspec.json.encode(body), key.encode()))
        if is_drawn(text, "labeled", self._labeled):
            label = {"text": text, "label": {"category": right_label(number)}}
            self._broker.publish(Message(self._topics.labels, msgspec.json.encode(label), key.encode()))

    def _take(self, value: bytes) -> None:
        reply = decode_reply(value)
        if isinstance(reply, Chunk) or reply.id not in self.sent:
            return
        self.ended[reply.id] += 1
        if isinstance(reply, Result):
            self.releases[self.sent[reply.id]][str(reply.release)] += 1
        else:
            self.failures[reply.code] += 1
