"""What a worker has taken on and not yet committed: bounded, answered in order per key, committed as a prefix."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from ..broker.base import Message, Record, TopicPartition
from ..config import WindowConfig
from ..errors import ReplyTooLarge
from .linger import Busy, Linger, idle
from .outcome import Outcome

Publish = Callable[[Message], "asyncio.Future[None]"]


@dataclass(eq=False, slots=True)
class Place:
    """The place of one record, from its admission until its offset is part of the committed prefix.

    Records of one key form a chain: ``behind`` is the next of them, ``held`` until this one has been published.
    """

    line: "Line"
    offset: int
    key: bytes | None
    behind: "Place | None" = None
    held: bool = False
    outcome: Outcome | None = None
    unacknowledged: int = 0
    done: bool = False
    task: "asyncio.Task[None] | None" = None


@dataclass(eq=False, slots=True)
class Line:
    """The places of one partition in offset order. A lost line is answered by the partition's next owner."""

    places: deque[Place] = field(default_factory=deque)
    last_of_key: dict[bytes, Place] = field(default_factory=dict)
    lost: bool = False

    @property
    def span(self) -> int:
        return self.places[-1].offset - self.places[0].offset + 1 if self.places else 0


class Window:
    """Bounded in-flight records. Lives on the event loop.

    Two bounds: the records running, and for each partition the span since its oldest unfinished offset, so that one
    slow request neither stalls its neighbors nor makes redelivery grow without limit. The span also bounds the
    replies that the broker has not acknowledged yet.
    """

    def __init__(self, config: WindowConfig, publish: Publish, busy: Busy = idle) -> None:
        self._config, self._publish = config, publish
        self._lines: dict[TopicPartition, Line] = {}
        self._changed = asyncio.Event()
        self._broken = asyncio.Event()
        self._error: BaseException = asyncio.CancelledError()
        self._linger: Linger[Place] = Linger(self._send, busy)
        self.running = 0
        """Records admitted whose outcome is not known yet."""
        self.terminal_events = 0
        """Records whose outcome is durable."""

    @property
    def room(self) -> int:
        """How many more records may be admitted now."""
        return self._config.max_in_flight - self.running

    def full_partitions(self) -> set[TopicPartition]:
        """Partitions whose span has reached its bound: they must pause until their oldest record is finished."""
        return {tp for tp, line in self._lines.items() if line.span >= self._config.max_span}

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
        """Return never; raise what made a publish fail for good."""
        await self._broken.wait()
        raise self._error

    def admit(self, record: Record) -> Place:
        """Take the record on. The caller owes a `complete` for the place."""
        line = self._lines.get((record.topic, record.partition))  # type: ignore[call-overload]
        if line is None:
            line = self._lines[TopicPartition(record.topic, record.partition)] = Line()
        place = Place(line, record.offset, record.key)
        line.places.append(place)
        if record.key is not None:
            elder = line.last_of_key.get(record.key)
            if elder is not None:
                elder.behind, place.held = place, True
            line.last_of_key[record.key] = place
        self.running += 1
        return place

    def complete(self, place: Place, outcome: Outcome) -> None:
        """Publish the outcome as soon as all earlier records of its key have been published."""
        if place.line.lost:
            return
        place.outcome, place.task = outcome, None
        self.running -= 1
        self._changed.set()
        ready: Place | None = None if place.held else place
        while ready is not None and ready.outcome is not None:
            behind = self._next_of_key(ready)
            self._linger.put(ready)
            ready = behind

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset to commit of each partition that has moved since the last call."""
        moved = {}
        for partition, line in self._lines.items():
            while line.places and line.places[0].done:
                moved[partition] = line.places.popleft().offset + 1
        return moved

    async def settle(self, partitions: Collection[TopicPartition] | None, timeout_ms: int) -> bool:
        """Wait until every admitted record (of these partitions) has its terminal event; False when time is over."""
        lines = [line for tp, line in self._lines.items() if partitions is None or tp in partitions]
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_ms / 1e3
        while any(not place.done for line in lines if not line.lost for place in line.places):
            left_ms = int((end - loop.time()) * 1e3)
            if left_ms <= 0:
                return False
            await self.changed(left_ms)
        return True

    def lose(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these partitions: what is unfinished is neither answered nor committed here."""
        for partition in partitions:
            line = self._lines.pop(partition, None)
            if line is None:
                continue
            line.lost = True
            for place in line.places:
                if place.outcome is None and not place.done:
                    self.running -= 1
                if place.task is not None:
                    place.task.cancel()
        self._changed.set()

    def _next_of_key(self, place: Place) -> Place | None:
        """The record behind one that is published now, no longer held."""
        behind = place.behind
        if behind is not None:
            behind.held = False
        elif place.key is not None:
            del place.line.last_of_key[place.key]
        return behind

    def _send(self, place: Place) -> None:
        if place.outcome is not None and not place.line.lost:
            self._publish_all(place, place.outcome)

    def _publish_all(self, place: Place, outcome: Outcome) -> None:
        place.unacknowledged = len(outcome.messages)
        for message in outcome.messages:
            acknowledgement = self._publish(message)
            if acknowledgement.done():  # refused at once: what replaces it goes before the next of its key
                self._acknowledged(place, acknowledgement)
            else:
                acknowledgement.add_done_callback(partial(self._acknowledged, place))

    def _acknowledged(self, place: Place, acknowledgement: "asyncio.Future[None]") -> None:
        error = None if acknowledgement.cancelled() else acknowledgement.exception()
        if place.line.lost:
            return
        if (
            isinstance(error, ReplyTooLarge)
            and place.outcome is not None
            and place.outcome.if_too_large is not None
        ):
            smaller = place.outcome.if_too_large()
            self._go_on(place, smaller if smaller.then else smaller._replace(then=place.outcome.then))
            return
        if acknowledgement.cancelled():
            return
        if error is not None:
            self._error = error
            self._broken.set()
            return
        place.unacknowledged -= 1
        if place.unacknowledged:
            return
        if place.outcome is not None and place.outcome.then is not None:
            self._go_on(place, place.outcome.then)
        else:
            self._finish(place)
            self._changed.set()

    def _go_on(self, place: Place, outcome: Outcome) -> None:
        # Without lingering, also under load: the next of its key may be about to be published behind it.
        place.outcome = outcome
        self._publish_all(place, outcome)

    def _finish(self, place: Place) -> None:
        # The outcome holds the reply's bytes: the place may have to wait long for its elders.
        place.done, place.outcome, place.behind = True, None, None
        self.terminal_events += 1
