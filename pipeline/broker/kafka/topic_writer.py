"""The messages of one topic, distributed over its partitions."""

import asyncio
import random
from collections.abc import Callable

from ...errors import InferstreamError, NotWritable
from ..base import Message
from ..partitioner import partition_of
from ..refusals import no_partition
from .writers import Entry, PartitionWriter, Route, SizeLimit, fail_all


class TopicWriter:
    """Distributes the messages of one topic over its partitions.

    Keeps them until the partitions are known.
    """

    def __init__(self, topic: str, route: Route, on_gone: Callable[[], None]) -> None:
        """``on_gone`` is called when the topic, or a partition of it, is gone."""
        self.route = route
        self._limit = SizeLimit(topic)
        self._on_gone = on_gone
        self._writers: list[PartitionWriter] = []
        self._waiting: list[Entry] = []
        self._round: list[int] = []  # the partitions of the next records without a key
        self._is_gone = False

    @property
    def partitions(self) -> int:
        """The number of partitions; 0 until it is known."""
        return len(self._writers)

    def append(self, entry: Entry) -> None:
        message, _, size = entry
        if size > self._limit.record_bytes:
            fail_all([entry], self._limit.error(size))
        elif not self._writers:
            self._waiting.append(entry)
        elif (partition := self._partition(message)) < len(self._writers):
            self._writers[partition].append(entry)
        else:
            fail_all([entry], no_partition(self._limit.topic, partition, len(self._writers)))

    def grow(self, partitions: int) -> None:
        """The topic now has this number of partitions. Never shrinks."""
        for partition in range(len(self._writers), partitions):
            self._writers.append(PartitionWriter(self.route, self._limit, partition, self._give_up))
        waiting = self._waiting
        self._waiting = []
        for entry in waiting:
            self.append(entry)

    def fail(self, error: InferstreamError) -> None:
        """Fail all messages that are not acknowledged."""
        fail_all(self._waiting, error)
        self._waiting = []
        for writer in self._writers:
            writer.fail(error)

    def _give_up(self, error: NotWritable) -> None:
        """One partition has found the topic gone. The others are not watched any more: they end too."""
        # Once: later, batches of the same partitions may be those of a topic that was created again.
        if not self._is_gone:
            self._is_gone = True
            self._on_gone()
            for writer in self._writers:
                writer.give_up(error)

    def late(self, before_s: float) -> list[PartitionWriter]:
        """The writers whose batch was sent before this time and is not acknowledged."""
        return [one for one in self._writers if one.sent_at_s is not None and one.sent_at_s < before_s]

    def tasks(self) -> list[asyncio.Task[None]]:
        return [writer.task for writer in self._writers if writer.task]

    def _partition(self, message: Message) -> int:
        if message.partition is not None:
            return message.partition
        if message.key is not None:
            return partition_of(message.key, len(self._writers))
        if not self._round:
            # Each round in another order: requests that are tried again every second, always in the same
            # order, would meet the same worker each time.
            self._round = random.sample(range(len(self._writers)), len(self._writers))
        return self._round.pop()
