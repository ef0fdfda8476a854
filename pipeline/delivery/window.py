"""What a worker has taken on and not yet committed: bounded, answered in order per key, committed as a prefix."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from ..broker.base import Message, Record, TopicPartition
from ..config import WindowConfig
from ..errors import ReplyTooLarge

Publish = Callable[[Message], "asyncio.Future[None]"]


class Outcome(NamedTuple):
    """The terminal event of a record: what must be durable before its offset may be committed.

    ``if_too_large`` gives what to publish instead when the broker refuses the size of a message.
    """

    messages: tuple[Message, ...]
    if_too_large: Callable[[], "Outcome"] | None = None


@dataclass(eq=False, slots=True)
class Place:
    """The place of one record, from its admission until its offset is part of the committed prefix."""

    record: Record
    line: "Line"
    outcome: Outcome | None = None
    unacknowledged: int = 0
    done: bool = False
    task: "asyncio.Task[None] | None" = None


@dataclass(eq=False, slots=True)
class Line:
    """The places of one partition in offset order. A lost line is answered by the partition's next owner."""

    partition: TopicPartition
    places: deque[Place] = field(default_factory=deque)
    keys: dict[bytes, deque[Place]] = field(default_factory=dict)
    position: int | None = None
    lost: bool = False

    @property
    def span(self) -> int:
        return self.places[-1].record.offset - self.places[0].record.offset + 1 if self.places else 0


class Window:
    """Bounded in-flight records. Lives on the event loop.

    Two bounds: the records running, and for each partition the span since its oldest unfinished offset, so that one
    slow request neither stalls its neighbors nor makes redelivery grow without limit.
    """

    def __init__(self, config: WindowConfig, publish: Publish) -> None:
        self._config, self._publish = config, publish
        self._lines: dict[TopicPartition, Line] = {}
        self._running = 0
        self._changed = asyncio.Event()
        self._broken = asyncio.Event()
        self._error: BaseException = asyncio.CancelledError()
        self.terminal_events = 0

    @property
    def running(self) -> int:
        """Records admitted whose terminal event is not durable yet."""
        return self._running

    @property
    def room(self) -> int:
        """How many more records may be admitted now."""
        return self._config.max_in_flight - self._running

    def full_partitions(self) -> set[TopicPartition]:
        """Partitions whose span has reached its bound: they must pause until their oldest record is finished."""
        return {tp for tp, line in self._lines.items() if line.span >= self._config.max_span}

    async def changed(self, timeout_ms: int) -> None:
        """Wait until a record has finished, or the time is over."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_ms / 1e3):
                await self._changed.wait()

    async def watch(self) -> None:
        """Return never; raise what made a publish fail for good."""
        await self._broken.wait()
        raise self._error

    def admit(self, record: Record) -> Place:
        """Take the record on. The caller owes a `complete` for the place."""
        partition = TopicPartition(record.topic, record.partition)
        line = self._lines.get(partition)
        if line is None:
            line = self._lines[partition] = Line(partition)
        place = Place(record, line)
        line.places.append(place)
        if record.key is not None:
            line.keys.setdefault(record.key, deque()).append(place)
        self._running += 1
        return place

    def complete(self, place: Place, outcome: Outcome) -> None:
        """Publish the outcome as soon as all earlier records of its key have been published."""
        place.outcome = outcome
        line, key = place.line, place.record.key
        if line.lost:
            return
        if key is None:
            self._send(place, outcome)
            return
        waiting = line.keys[key]
        while waiting and (ready := waiting[0].outcome) is not None:
            self._send(waiting.popleft(), ready)
        if not waiting:
            del line.keys[key]

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset to commit of each partition that has moved since the last call."""
        moved = {}
        for partition, line in self._lines.items():
            position = None
            while line.places and line.places[0].done:
                position = line.places.popleft().record.offset + 1
            if position is not None:
                line.position = position
                moved[partition] = position
        return moved

    async def settle(self, partitions: Collection[TopicPartition] | None, timeout_ms: int) -> bool:
        """Wait until every admitted record (of these partitions) has its terminal event; False when time is over."""
        lines = [line for tp, line in self._lines.items() if partitions is None or tp in partitions]
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_ms / 1e3
        while any(not place.done for line in lines for place in line.places):
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
                if not place.done:
                    self._running -= 1
                    if place.task is not None:
                        place.task.cancel()
        self._changed.set()

    def _send(self, place: Place, outcome: Outcome) -> None:
        place.unacknowledged = len(outcome.messages)
        for message in outcome.messages:
            self._publish(message).add_done_callback(partial(self._acknowledged, place))

    def _acknowledged(self, place: Place, acknowledgement: "asyncio.Future[None]") -> None:
        error = None if acknowledgement.cancelled() else acknowledgement.exception()
        if place.line.lost:
            return
        if (
            isinstance(error, ReplyTooLarge)
            and place.outcome is not None
            and place.outcome.if_too_large is not None
        ):
            place.outcome = place.outcome.if_too_large()
            self._send(place, place.outcome)
            return
        if acknowledgement.cancelled():
            return
        if error is not None:
            self._error = error
            self._broken.set()
            return
        place.unacknowledged -= 1
        if place.unacknowledged == 0:
            self._finish(place)
            self._changed.set()

    def _finish(self, place: Place) -> None:
        # The task and the outcome hold the reply's bytes: the place may have to wait long for its elders.
        place.done, place.outcome, place.task = True, None, None
        self._running -= 1
        self.terminal_events += 1
