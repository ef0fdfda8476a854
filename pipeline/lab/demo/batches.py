"""The batches that answers ran in, by the replies on a topic."""

import asyncio
from collections import Counter

from msgspec import Struct, field

from ....schemas.codec import DecodeError, decode_reply
from ....schemas.messages import BatchInfo, Result
from ...broker.base import Consumer

POLL_RECORDS = 1_000
POLL_MS = 200


class RanBatches(Struct):
    """Sums over replies. Each has the size of its batch, so it counts as 1/rows of a batch."""

    sizes: Counter[int] = field(default_factory=Counter)
    tokens: float = 0.0
    padded_tokens: float = 0.0

    def add(self, batch: BatchInfo) -> None:
        self.sizes[batch.rows] += 1
        self.tokens += batch.tokens / batch.rows
        self.padded_tokens += batch.padded_tokens / batch.rows

    @property
    def count(self) -> float:
        return sum(count / rows for rows, count in self.sizes.items())

    @property
    def mean(self) -> float:
        return self.sizes.total() / self.count if self.sizes else 0.0

    @property
    def padding_share(self) -> float:
        """The share of padding among the tokens that the model ran."""
        return 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0


async def watch(consumer: Consumer, id_prefix: str, batches: RanBatches) -> None:
    """Add the batches of all results whose id begins so, until it is cancelled."""
    while True:
        for record in await consumer.poll(POLL_RECORDS, POLL_MS):
            try:
                reply = decode_reply(record.value)
            except DecodeError:
                continue  # of another program
            if isinstance(reply, Result) and reply.id.startswith(id_prefix) and reply.batch:
                batches.add(reply.batch)
        await asyncio.sleep(0)
