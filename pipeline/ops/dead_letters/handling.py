"""Dealing with dead letters: each gets its mark when what was to be done is durable."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Final

from msgspec import Struct, field

from ....schemas.topics import Header, Topics
from ...broker.base import Broker, Message, Record, TopicSpec
from ...errors import ReplyTooLarge, UsageError
from .letter import Letter, Selection
from .marks import Done, mark
from .reading import Progress, selected

AHEAD: Final = 256
"""Letters on their way at a time, and so the most that are replayed again after an interruption."""

AHEAD_BYTES: Final = 16_000_000
Entry = tuple[Record, Letter]

SHED: Final = frozenset(
    {
        Header.ERROR_CODE,
        Header.ERROR_MESSAGE,
        Header.FAILED_AT_MS,
        Header.WORKER,
        Header.VERSION,
        Header.HISTORY,
        Header.ATTEMPT,
        Header.NOT_BEFORE_MS,
        Header.DEADLINE_MS,
    }
)
"""Headers that a replay does not have: what went wrong, and a deadline that has passed since."""


class Handled(Struct):
    """Letters that were dealt with, by code.

    ``left_out`` counts those without their body, which cannot be replayed, ``refused`` those that are too large for
    the request topic.
    """

    codes: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    refused: int = 0


class Desk:
    """Where letters are dealt with.

    Args:
        broker: started.
        marks: the topic of marks as it must be; made when it is missing.
        clock: the Unix time in seconds.
    """

    def __init__(self, broker: Broker, topics: Topics, marks: TopicSpec, clock: Callable[[], float]) -> None:
        self._broker, self._topics, self._marks, self._clock = broker, topics, marks, clock

    async def foresee(
        self, what: Done, selection: Selection, *, limit: int | None = None, progress: Progress
    ) -> Handled:
        """What `handle` would do. Changes nothing."""
        foreseen = Handled()
        async for batch in self._batches(what, selection, limit, foreseen, progress):
            foreseen.codes.update(letter.code for _, letter in batch)
        return foreseen

    async def handle(
        self, what: Done, selection: Selection, *, limit: int | None = None, progress: Progress
    ) -> Handled:
        """Deal with the letters of the selection, at most ``limit``, that nobody has dealt with yet.

        A replay puts the identical body back on the request topic, with key and headers, as if it came for the first
        time. A purge only marks the letter: retention deletes it. May be interrupted and repeated. Raises BrokerError.
        """
        handled = Handled()
        partitions = await self._broker.partitions(self._topics.requests)
        if what == "replayed" and partitions is None:
            raise UsageError(f"There is no topic {self._topics.requests} to put the requests on.")
        await self._broker.ensure_topics([self._marks])
        async for batch in self._batches(what, selection, limit, handled, progress):
            records = [record for record, _ in batch]
            taken = [True] * len(batch)
            if what == "replayed":
                taken = await self._publish(
                    replay_of(record, self._topics, partitions or 1) for record in records
                )
            done = [entry for entry, was_taken in zip(batch, taken, strict=True) if was_taken]
            await self._publish(mark(record, self._topics, what, self._clock) for record, _ in done)
            handled.codes.update(letter.code for _, letter in done)
            handled.refused += len(batch) - len(done)
        return handled

    async def _publish(self, messages: Iterable[Message]) -> list[bool]:
        """Whether each is durable; one that is too large is not. Raises BrokerError."""
        published = [self._broker.publish(message) for message in messages]
        results = await asyncio.gather(*published, return_exceptions=True)
        for result in results:
            if result is not None and not isinstance(result, ReplyTooLarge):
                raise result
        return [result is None for result in results]

    async def _batches(
        self, what: Done, selection: Selection, limit: int | None, handled: Handled, progress: Progress
    ) -> AsyncGenerator[list[Entry]]:
        """The letters to deal with, so many at a time as may be on their way; the others are counted."""
        batch, room, size = list[Entry](), limit, 0
        async with aclosing(selected(self._broker, self._topics, selection, progress)) as found:
            async for record, letter in found:
                if room == 0:
                    break
                if what == "replayed" and letter.left_out is not None:
                    handled.left_out += 1
                    continue
                batch.append((record, letter))
                room, size = None if room is None else room - 1, size + letter.bytes
                if len(batch) == AHEAD or size > AHEAD_BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch


def replay_of(letter: Record, topics: Topics, partitions: int) -> Message:
    """The request that the letter was, as if it came for the first time, yet with its origin."""
    kept = tuple(header for header in letter.headers if header[0] not in SHED)
    return Message(
        topics.requests, letter.value or b"", letter.key, kept, _partition(letter, topics, partitions)
    )


def _partition(letter: Record, topics: Topics, partitions: int) -> int | None:
    """The partition in which the request was: a producer may have its own way from keys to partitions."""
    parts = dict(letter.headers).get(Header.ORIGIN, b"").decode(errors="replace").rsplit("/", 2)
    if len(parts) == 3 and parts[0] == topics.requests and parts[1].isdecimal() and len(parts[1]) < 10:
        return int(parts[1]) if int(parts[1]) < partitions else None
    return None
