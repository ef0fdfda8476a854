"""The loop over a broker: consume, admit, answer, commit, drain."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

from ..broker.base import Broker, Consumer, Record, TopicPartition
from ..config import WindowConfig
from .breaker import Breaker
from .linger import LINGER_S, Busy, idle
from .outcome import Outcome, PendingOutcome
from .window import Place, Window

log = logging.getLogger(__name__)

POLL_MS = 200
"""How long one poll waits for records: bounds how late a drain is noticed."""

MAX_AT_ONCE = 256
"""Records of one poll: bounds how long the event loop is held before replies and heartbeats get their turn."""

ROOM_SHARE = 16
"""A full window is read into again when this part of it is free."""


class Handles(Protocol):
    """What the worker needs of a handler; `handler.Handler` says more."""

    def handle(self, record: Record) -> Outcome | PendingOutcome: ...


class Worker:
    """A member of a consumer group that answers records and commits the contiguous prefix of answered ones."""

    def __init__(
        self,
        broker: Broker,
        handler: Handles,
        *,
        topics: Collection[str],
        group: str,
        member: str | None = None,
        config: WindowConfig,
        background: Collection[Callable[[], Coroutine[Any, Any, None]]] = (),
        breaker: Breaker | None = None,
        busy: Busy = idle,
    ) -> None:
        """``background`` runs beside the loop; the worker ends with the error of whichever fails."""
        self._broker, self._handler, self._config = broker, handler, config
        self._topics, self.group, self._member = topics, group, member
        self._background = background
        self.breaker = breaker
        self._busy = busy
        self._draining = asyncio.Event()
        self._committing = asyncio.Lock()
        self._paused: frozenset[TopicPartition] = frozenset()
        self.window = Window(config, broker.publish, busy)
        self.consumer: Consumer | None = None

    @property
    def ready(self) -> bool:
        """Whether the worker has partitions to serve, or is a healthy spare."""
        return self.consumer is not None and not self._draining.is_set()

    def drain(self) -> None:
        """Take nothing new, finish what runs, commit, leave the group; then `run` returns."""
        self._draining.set()

    async def run(self) -> None:
        """Serve until drained. Raises an ExceptionGroup of BrokerError, or of what ended a background task."""
        consumer = await self._broker.consume(
            self._topics, group=self.group, listener=self, member=self._member
        )
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
        """Called by the broker: these partitions are ours, from their committed offsets."""
        log.info("Serving %d partitions. Topics: %s.", len(partitions), ", ".join(self._topics))

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Called by the broker: hand over within a bound. What is not finished by then the next owner answers."""
        if not await self.window.settle(partitions, self._config.revoke_timeout_ms):
            log.info("Some requests are left to the next owner of their partitions.")
        await self._commit()
        self.window.lose(partitions)

    async def _serve(self, consumer: Consumer, tasks: asyncio.TaskGroup) -> None:
        while not self._draining.is_set():
            await self._wait_for_room()
            self._pause_full(consumer)
            # With no room everything is paused and this only keeps the membership; yet what comes must be admitted:
            # a record that was read and left out would be a hole below later commits.
            room = self._room()
            for record in await consumer.poll(max(1, min(room, MAX_AT_ONCE)), POLL_MS if room > 0 else 0):
                self._accept(record, tasks)
            # A poll that finds records waiting does not give way by itself; and with enough to do meanwhile, fewer
            # polls that find more cost less, the broker as well.
            await asyncio.sleep(LINGER_S if self._busy() else 0)

    async def _wait_for_room(self) -> None:
        """Wait a moment for a share of the window rather than pause: what a paused consumer was about to get is
        fetched again, and a poll costs the same for one record as for many.
        """
        if self._room() <= 0:
            await self.window.changed(POLL_MS)
        await self.window.has_room(self._config.max_in_flight // ROOM_SHARE, POLL_MS)

    def _room(self) -> int:
        """How many records may be read now."""
        room = self.window.room
        return self.breaker.room(room) if self.breaker else room

    def _accept(self, record: Record, tasks: asyncio.TaskGroup) -> None:
        trial = self.breaker is not None and self.breaker.trying()
        place = self.window.admit(record)
        outcome = self._handler.handle(record)
        if isinstance(outcome, Outcome):
            self.window.complete(place, outcome)
            self._ended(trial)
        else:
            place.task = tasks.create_task(self._await(place, outcome))
            # A partition may be lost before the task has its first turn: then nothing else ends what came.
            place.task.add_done_callback(lambda _: outcome.close())
            place.task.add_done_callback(lambda _: self._ended(trial))

    def _ended(self, trial: bool) -> None:
        if trial and self.breaker is not None:
            self.breaker.tried()

    async def _await(self, place: Place, outcome: PendingOutcome) -> None:
        self.window.complete(place, await outcome)

    def _pause_full(self, consumer: Consumer) -> None:
        """Pause what has no room: all partitions when the window is full, else those whose span is."""
        assigned = consumer.assignment()
        wanted = assigned if self._room() <= 0 else frozenset(self.window.full_partitions()) & assigned
        if wanted != self._paused:
            consumer.resume((self._paused & assigned) - wanted)
            consumer.pause(wanted - self._paused)
            self._paused = wanted

    async def _finish(self, consumer: Consumer) -> None:
        """Drain: everything admitted gets its terminal event, within the limit."""
        # What waits in a retry topic is left there at once, and that is no news.
        patient = self._config.drain_timeout_ms > 0
        if patient:
            log.info("Draining: %d requests are finished first.", self.window.running)
        consumer.pause(consumer.assignment())
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(self._keep_membership(consumer))
            settled = await self.window.settle(None, self._config.drain_timeout_ms)
            polling.cancel()
        if patient and not settled:
            log.warning(
                "%d requests were not finished in time; another worker answers them.", self.window.running
            )
        await self._commit()
        self.window.lose(consumer.assignment())

    async def _keep_membership(self, consumer: Consumer) -> None:
        while True:
            await consumer.poll(1, POLL_MS)

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self._config.commit_interval_ms / 1e3)
            await self._commit()

    async def _commit(self) -> None:
        # One at a time: nobody may leave, or hand over, while offsets taken from the window are on their way.
        async with self._committing:
            if self.consumer is not None and (positions := self.window.positions()):
                await self.consumer.commit(positions)
