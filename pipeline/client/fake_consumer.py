"""The consumer of the `FakeBroker`."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from ..broker.base import Record, TopicPartition


class FakeConsumer:
    """Reads the replies. All else that a consumer can do has no effect: there are no groups here."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._values: asyncio.Queue[Record] = asyncio.Queue()

    def put(self, topic: str, value: bytes) -> None:
        """A reply, if it is for this consumer. The reply to a cancel names no topic and is for all."""
        if topic in self._topics or not topic:
            self._values.put_nowait(Record(topic, 0, 0, None, value, (), 0))

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        return [await self._values.get()]

    async def close(self) -> None: ...

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset()

    def positions(self) -> Mapping[TopicPartition, int]:
        return {}

    def generation(self) -> int:
        return 0

    def pause(self, partitions: Collection[TopicPartition]) -> None: ...

    def resume(self, partitions: Collection[TopicPartition]) -> None: ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        return {}

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {}

    async def offsets_at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return {}

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None: ...
