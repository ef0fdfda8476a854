"""Reads a reply topic again: what was told to requests that have not ended."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, Self

import msgspec

from ...schemas.codec import DecodeError, decode_reply
from ...schemas.messages import Chunk
from ..broker.base import Broker, Consumer, TopicPartition
from ..errors import InferstreamError
from .told_pieces import ToldPieces

POLL_RECORDS: Final = 500
"""A few milliseconds of the event loop."""

POLL_MS: Final = 250
READ_BYTES: Final = 64_000_000
KEPT_BYTES: Final = 32_000_000
ENTRY_BYTES: Final = 300
"""What a request takes in memory beside its pieces."""


class TooMuchTold(InferstreamError):
    """More was told since the oldest of the requests than may be read, or kept."""


class ToldName(NamedTuple):
    """By what the chunks of a request are known: an id alone may be that of another sender."""

    partition: int
    key: bytes | None
    id: str


class ReplyLog:
    """One reply topic, read without a group from the time of the oldest request on, each record once.

    ``told`` are the requests without an end among what was read.
    """

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self.told: dict[ToldName, ToldPieces] = {}
        self._consumer = consumer
        self._topic = topic
        self._since_ms: dict[int, int] = {}
        self._kept = 0

    @classmethod
    async def open(cls, broker: Broker, topic: str) -> Self:
        """Raises BrokerError."""
        consumer = await broker.consume([topic], start="latest")
        consumer.pause(consumer.assignment())
        return cls(consumer, topic)

    async def close(self) -> None:
        await self._consumer.close()

    async def begin(self, since_ms: Mapping[int, int]) -> None:
        """Read these partitions from these times on, in Unix ms, unless that was done."""
        earlier = {at: ms for at, ms in since_ms.items() if ms < self._since_ms.get(at, ms + 1)}
        if earlier:
            for name in [name for name in self.told if name.partition in earlier]:
                self._forget(name)
            times = {TopicPartition(self._topic, at): ms for at, ms in earlier.items()}
            await self._consumer.seek(await self._consumer.offsets_at(times))
            self._since_ms |= earlier

    def restart(self, partition: int) -> None:
        """The next `begin` reads this partition anew."""
        self._since_ms.pop(partition, None)

    def give(self, name: ToldName, decoder: "msgspec.json.Decoder[Any]") -> Any:
        """The pieces that were told to a request, see `ToldPieces.give`."""
        told = self.told.get(name)
        if told is None:
            return ()
        self._kept -= told.size
        return told.give(decoder)

    async def read_on(self, partitions: Collection[int]) -> None:
        """Read these partitions to their ends as they are now."""
        parts = [TopicPartition(self._topic, partition) for partition in partitions]
        ends = await self._consumer.end_offsets(parts)
        await self.read_until(
            partitions,
            lambda: all(self._consumer.positions().get(at, 0) >= end for at, end in ends.items()),
        )

    async def read_until(self, partitions: Collection[int], is_enough: Callable[[], bool]) -> None:
        """Read these partitions until it is enough. Raises TooMuchTold or BrokerError."""
        parts = [TopicPartition(self._topic, partition) for partition in partitions]
        size = 0
        self._consumer.resume(parts)
        try:
            while not is_enough():
                for record in await self._consumer.poll(POLL_RECORDS, POLL_MS):
                    size += len(record.value or b"")
                    self._add(record.partition, record.key, record.value)
                if size > READ_BYTES or self._kept > KEPT_BYTES:
                    raise TooMuchTold("more was told since they were sent than a worker reads again")
        finally:
            self._consumer.pause(parts)

    def _add(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        try:
            reply = decode_reply(value)
        except DecodeError:
            return
        name = ToldName(partition, key, reply.id)
        if not isinstance(reply, Chunk):
            if (ended := self.told.get(name)) is not None and not ended.is_older(reply):
                self._forget(name)
            return
        told = self.told.get(name)
        if told is None:
            told = self.told[name] = ToldPieces()
            self._kept += ENTRY_BYTES
        size = told.size
        told.add(reply)
        self._kept += told.size - size

    def _forget(self, name: ToldName) -> None:
        self._kept -= self.told.pop(name).size + ENTRY_BYTES
