"""The records admitted and not yet committed: bounded, in order per key, committed as a prefix."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Final

from ..broker.base import Record, TopicPartition
from ..config import WindowConfig
from .linger import Busy, idle
from .outcome import Outcome
from .sender import Publish, Sender
from .slots import PartitionQueue, Slot

HAND_OVER_MS: Final = 20
"""How often it is looked whether the last parts of what is handed over are durable."""


class Window:
    """Bounded in-flight records. Lives on the event loop.

    Replies keep the order of the records of a key, except where a record says that its order does not
    matter: then it waits for no other.

    Three bounds: the records running, the bytes of the records that are not finished, and for each
    partition the span since its oldest unfinished offset, so that one slow request neither stalls
    its neighbors nor makes redelivery grow without limit. The span also bounds the replies that the
    broker has not acknowledged yet.
    """

    def __init__(self, config: WindowConfig, publish: Publish, busy: Busy = idle) -> None:
        self.config = config
        self.busy = busy
        self.running = 0
        """Records admitted whose outcome is not known yet."""
        self.terminal_events = 0
        """Records whose outcome is durable."""
        self.bytes = 0
        """The size of the records that are not finished: a dead letter holds its record until it is durable."""
        self.resumes = False
        """Whether some of its records are told by one worker after the other: then epochs and ends are kept."""
        self.epoch = 0
        """That of the records that are admitted from now on."""
        self.ends: Mapping[TopicPartition, int] | None = None
        """The ends of the partitions when they were assigned, or later: what is behind them no earlier owner has
        begun. None until they are known."""
        self._sender = Sender(publish, busy, self._finish)
        self._queues: dict[TopicPartition, PartitionQueue] = {}
        self._forgotten: set[TopicPartition] = set()
        self._changed = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more records may be admitted now."""
        return self.config.max_in_flight - self.running if self.bytes < self.config.max_bytes else 0

    @property
    def room_bytes(self) -> int:
        """How many more bytes may be admitted now."""
        return max(0, self.config.max_bytes - self.bytes)

    def full_partitions(self) -> set[TopicPartition]:
        """Partitions whose span has reached its bound: they pause until their oldest record is done."""
        return {tp for tp, queue in self._queues.items() if queue.span >= self.config.max_span}

    async def changed(self, timeout_ms: int) -> None:
        """Wait until a record has finished, or the time is over."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1e3):
                await self._changed.wait()

    async def has_room(self, wanted: int, timeout_ms: int) -> None:
        """Wait until ``wanted`` more records may be admitted, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1e3):
                while self.room < wanted:
                    self._changed.clear()
                    await self._changed.wait()

    async def watch(self) -> None:
        """Return never; raise the error of a publish that failed for good."""
        await self._sender.watch()

    def admit(self, record: Record) -> Slot:
        """Add the record. The caller must `complete` its slot."""
        queue = self._queues.get((record.topic, record.partition))  # type: ignore[call-overload]
        if queue is None:
            queue = self._queues[TopicPartition(record.topic, record.partition)] = PartitionQueue(
                self._sender.say
            )
        if queue.is_behind(record.offset):
            # The topic was created again: its offsets begin again. What was read of the old one is still
            # answered, and no offset of it is committed.
            queue = self._queues[TopicPartition(record.topic, record.partition)] = PartitionQueue(
                self._sender.say
            )
        slot: Slot = queue.append(record)
        if self.resumes:
            slot.epoch = self.epoch
            end = None if self.ends is None else self.ends.get(TopicPartition(record.topic, record.partition))
            slot.begun = end is None or record.offset < end
        self.running += 1
        self.bytes += slot.size
        return slot

    def complete(self, slot: Slot, outcome: Outcome) -> None:
        """Publish the outcome as soon as all earlier records of its key have been published.

        It has the whole answer: no part of it is published from now on.
        """
        if slot.queue.forgotten:
            return
        slot.outcome = outcome
        slot.chunks = None
        slot.lift = None
        slot.task = None
        self.running -= 1
        self._changed.set()
        ready: Slot | None = None if slot.blocked else slot
        while ready is not None and ready.outcome is not None:
            following = ready.next_of_key
            if following is not None:
                following.blocked = False
            self._sender.put(ready)
            ready = following

    def read_to(self, positions: Mapping[TopicPartition, int]) -> None:
        """All records before these offsets were admitted: with none unfinished, they are committed."""
        for partition in positions.keys() - self._forgotten:
            queue = self._queues.get(partition)
            if queue is None:
                queue = self._queues[partition] = PartitionQueue(self._sender.say)
            queue.read_to = positions[partition]

    def begin(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are read from their committed offsets on, also those that were forgotten."""
        self._forgotten.difference_update(partitions)
        self.ends = None

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset to commit of each partition that has moved since the last call."""
        moved = {}
        for partition, queue in self._queues.items():
            offset = queue.given
            while queue.slots and queue.slots[0].done:
                offset = queue.slots.popleft().offset + 1
            if not queue.slots and queue.read_to >= 0:
                offset = queue.read_to
            if offset != queue.given:
                moved[partition] = queue.given = offset
        return moved

    def hand_over(self, partitions: Collection[TopicPartition] | None) -> int:
        """Stop what another worker can go on with, and tell what is known of it; returns how many these are.

        It stays unfinished, and so do later records of its key, which are not answered before it. All other answers
        are made now although their readers lag.
        """
        count = 0
        for slot in [slot for queue in self._of(partitions) for slot in queue.slots]:
            if slot.outcome is not None or slot.done or slot.left:
                continue
            if slot.lift is not None and not slot.resumes:
                slot.lift()
            elif slot.resumes:
                count += 1
                following: Slot | None = slot
                while following is not None:
                    following.left = True
                    if following.task is not None:
                        following.task.cancel()
                    following = following.next_of_key
        return count

    async def settle(self, partitions: Collection[TopicPartition] | None, timeout_ms: int) -> bool:
        """Wait until all records (of these partitions) have their terminal event, or are handed over; False on
        timeout."""
        queues = self._of(partitions)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_ms / 1e3
        while any(slot.keeps_waiting for queue in queues if not queue.forgotten for slot in queue.slots):
            left_ms = int((end - loop.time()) * 1e3)
            if left_ms <= 0:
                return False
            await self.changed(min(left_ms, HAND_OVER_MS))
        return True

    def _of(self, partitions: Collection[TopicPartition] | None) -> list[PartitionQueue]:
        return [queue for tp, queue in self._queues.items() if partitions is None or tp in partitions]

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Drop these partitions: their unfinished records are neither answered nor committed here."""
        self._forgotten.update(partitions)
        for partition in partitions:
            queue = self._queues.pop(partition, None)
            if queue is None:
                continue
            queue.forgotten = True
            for slot in queue.slots:
                if slot.outcome is None and not slot.done:
                    self.running -= 1
                if not slot.done:
                    self.bytes -= slot.size
                slot.chunks = None
                if slot.task is not None:
                    slot.task.cancel()
        self._changed.set()

    def _finish(self, slot: Slot) -> None:
        slot.done = True
        self.bytes -= slot.size
        # The slot may stay queued behind unfinished earlier offsets: what it holds would not be bounded.
        slot.outcome = None
        slot.key = None
        slot.next_of_key = None
        self.terminal_events += 1
        self._changed.set()
