"""The loop over a broker: consume, admit, answer, commit, drain."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from ..broker.base import Broker, Consumer, Record, TopicPartition
from ..errors import BrokerError
from .breaker import Breaker
from .linger import LINGER_S
from .outcome import Outcome, PendingOutcome
from .slots import Slot
from .window import Window

log = logging.getLogger(__name__)

POLL_MS: Final = 200
"""Longest wait of one poll for records: it bounds how late a drain is noticed."""

MAX_POLL_RECORDS: Final = 256
"""Records of one poll: bounds how long replies and heartbeats wait for the event loop."""

FIRST_RECORD_BYTES: Final = 32_768
"""The expected size of a record until some have been read."""

LEAST_RECORD_BYTES: Final = 1_024

MAX_OFFSET: Final = 2**63 - 1

ROOM_SHARE: Final = 16
"""A full window is read into again when this part of it (1/16) is free."""


class RecordHandler(Protocol):
    """What turns records into outcomes: `handler.Handler`, `retry_returner.RetryReturner`."""

    def handle(self, record: Record, slot: Slot) -> Outcome | PendingOutcome: ...


class Subscription(NamedTuple):
    """What a worker reads: topics, as a member of a group. ``member`` makes the membership static."""

    topics: Collection[str]
    group: str
    member: str | None = None


class Worker:
    """A member of a consumer group: answers records, commits the contiguous prefix of answered ones."""

    def __init__(
        self,
        broker: Broker,
        handler: RecordHandler,
        window: Window,
        subscription: Subscription,
        background: Collection[Callable[[], Coroutine[Any, Any, None]]] = (),
        breaker: Breaker | None = None,
    ) -> None:
        """``background`` runs beside the loop; an error of one of its coroutines ends the worker."""
        self.window = window
        self.breaker = breaker
        self.consumer: Consumer | None = None
        self._broker = broker
        self._handler = handler
        self._subscription = subscription
        self._background = background
        self._config = window.config
        self._draining = asyncio.Event()
        self._committing = asyncio.Lock()
        self._paused: frozenset[TopicPartition] = frozenset()
        self._record_bytes = FIRST_RECORD_BYTES

    @property
    def ready(self) -> bool:
        """Whether it has joined its group and is not draining; also true with no partitions assigned."""
        return self.consumer is not None and not self._draining.is_set()

    @property
    def partitions(self) -> list[int]:
        """The numbers of the partitions that it reads now."""
        return [at.partition for at in self.consumer.assignment()] if self.ready and self.consumer else []

    def drain(self) -> None:
        """Read nothing more, finish what runs, commit, leave the group; then `run` returns."""
        self._draining.set()

    async def run(self) -> None:
        """Serve until drained. Raises an ExceptionGroup: BrokerError, or a background task's error."""
        topics, group, member = self._subscription
        consumer = await self._broker.consume(topics, group=group, listener=self, member=member)
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(loop())
                    for loop in (*self._background, self._commit_often, self.window.watch)
                ]
                self.consumer = consumer
                await self._serve(consumer, tasks)
                await self._finish(consumer)
                for loop in loops:
                    loop.cancel()
        finally:
            self.consumer = None
            await consumer.close()

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Called by the broker: the worker reads these partitions now, from their committed offsets."""
        self.window.begin(partitions)
        log.info("Serving %d partitions. Topics: %s.", len(partitions), ", ".join(self._subscription.topics))

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Called by the broker: finish these partitions within the limit, and commit.

        Records that are unfinished by then are not committed; the next owner of the partition answers them, and goes
        on with those that are handed over.
        """
        self.window.hand_over(partitions)
        if not await self.window.settle(partitions, self._config.revoke_timeout_ms):
            log.info("Some requests are not finished: the next owner of their partitions answers them.")
        await self._commit()
        self.window.forget(partitions)

    async def _serve(self, consumer: Consumer, tasks: asyncio.TaskGroup) -> None:
        while not self._draining.is_set():
            if self.window.resumes and self.window.ends is None:
                await self._look_up_ends(consumer)
            await self._wait_for_room()
            self._pause_full(consumer)
            # With no room everything is paused, and the poll only keeps the membership. Records that
            # it returns all the same must be admitted: later commits would skip one left out.
            room = self._room()
            records = await consumer.poll(self._max_records(room), POLL_MS if room > 0 else 0)
            self.window.epoch = consumer.generation()
            for record in records:
                self._accept(record, tasks)
            self.window.read_to(consumer.positions())
            # A poll that finds records does not yield to the event loop. Under load, fewer and larger
            # polls cost less, here and on the broker (docs/decisions/0008).
            await asyncio.sleep(LINGER_S if self.window.busy() else 0)

    async def _look_up_ends(self, consumer: Consumer) -> None:
        """Note the ends of the partitions: an earlier owner may have begun the records before them."""
        generation = consumer.generation()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
        except BrokerError:  # polling says it if it lasts
            ends = dict.fromkeys(consumer.assignment(), MAX_OFFSET)
        if consumer.generation() == generation:
            self.window.ends = ends

    def _max_records(self, room: int) -> int:
        """How many records to poll for: as many as fit, if they are as large as the largest one of late."""
        fitting = self.window.room_bytes // self._record_bytes
        self._record_bytes = max(LEAST_RECORD_BYTES, self._record_bytes * 3 // 4)
        return max(1, min(room, MAX_POLL_RECORDS, fitting))

    async def _wait_for_room(self) -> None:
        """Wait up to `POLL_MS` until a share of the window is free.

        Cheaper than a pause: a paused consumer drops what it has fetched and fetches it again. And a
        poll for one record costs as much as a poll for many.
        """
        if self._room() <= 0:
            await self.window.changed(POLL_MS)
        await self.window.has_room(self._config.max_in_flight // ROOM_SHARE, POLL_MS)

    def _room(self) -> int:
        """How many records may be read now."""
        room = self.window.room
        return self.breaker.room(room) if self.breaker else room

    def _accept(self, record: Record, tasks: asyncio.TaskGroup) -> None:
        is_trial = self.breaker is not None and self.breaker.begin_trial()
        slot = self.window.admit(record)
        if slot.size > self._record_bytes:  # noqa: PLR1730 - max() would be a call
            self._record_bytes = slot.size
        outcome = self._handler.handle(record, slot)
        if isinstance(outcome, Outcome):
            self.window.complete(slot, outcome)
            if is_trial:
                self._end_trial()
        else:
            slot.task = tasks.create_task(self._await(slot, outcome))
            # The partition may be revoked before the task's first turn: then only this closes the outcome.
            slot.task.add_done_callback(lambda _: outcome.close())
            if is_trial:
                slot.task.add_done_callback(lambda _: self._end_trial())

    def _end_trial(self) -> None:
        if self.breaker is not None:
            self.breaker.end_trial()

    async def _await(self, slot: Slot, outcome: PendingOutcome) -> None:
        self.window.complete(slot, await outcome)

    def _pause_full(self, consumer: Consumer) -> None:
        """Pause all partitions when the window is full, else those whose span is at its bound."""
        assigned = consumer.assignment()
        wanted = assigned if self._room() <= 0 else frozenset(self.window.full_partitions()) & assigned
        if wanted != self._paused:
            consumer.resume((self._paused & assigned) - wanted)
            consumer.pause(wanted - self._paused)
            self._paused = wanted

    async def _finish(self, consumer: Consumer) -> None:
        """Drain: everything admitted gets its terminal event, within the limit."""
        # Retry-topic workers drain with a zero timeout; nothing to log.
        has_time = self._config.drain_timeout_ms > 0
        if has_time:
            log.info("Draining: %d requests are finished first.", self.window.running)
        consumer.pause(consumer.assignment())
        if handed_over := self.window.hand_over(None):
            log.info(
                "%d answers in pieces are handed over to the next owner of their partitions.", handed_over
            )
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(self._keep_membership(consumer))
            settled = await self.window.settle(None, self._config.drain_timeout_ms)
            polling.cancel()
        if has_time and not settled:
            log.warning(
                "%d requests were not finished in time; another worker answers them.", self.window.running
            )
        await self._commit()
        self.window.forget(consumer.assignment())

    async def _keep_membership(self, consumer: Consumer) -> None:
        while True:
            await consumer.poll(1, POLL_MS)

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self._config.commit_interval_ms / 1e3)
            await self._commit()

    async def _commit(self) -> None:
        # One commit at a time: the worker must not leave the group, or hand over partitions, while
        # another commit has taken offsets from the window and not stored them yet.
        async with self._committing:
            if self.consumer is not None and (positions := self.window.positions()):
                await self.consumer.commit(positions)
