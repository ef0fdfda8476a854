"""Replays and purges dead letters. A letter gets its mark when its replay is durable."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Final

from msgspec import Struct, field

from ....schemas.topics import Header, Topics
from ...broker.base import Broker, Message, Record, TopicSpec
from ...errors import ReplyTooLarge, UsageError
from .letter import Letter, Selection
from .marks import Done, mark
from .reading import Progress, selected

MAX_PENDING: Final = 256
"""Letters published at a time: at most these are replayed twice after an interruption."""

MAX_PENDING_BYTES: Final = 16_000_000
Entry = tuple[Record, Letter]

REMOVED: Final = frozenset(
    {
        Header.ERROR_CODE,
        Header.ERROR_MESSAGE,
        Header.FAILED_AT_MS,
        Header.WORKER,
        Header.VERSION,
        Header.HISTORY,
        Header.ATTEMPT,
        Header.ORIGIN_MS,
        Header.ASKED_MS,
        Header.NOT_BEFORE_MS,
        Header.DEADLINE_MS,
        Header.KEYLESS,
    }
)
"""A replay does not keep these headers: those of the failure, and the old deadline."""


class HandledLetters(Struct):
    """The number of handled letters by code.

    ``left_out`` counts letters without their body: they cannot be replayed. ``refused`` counts
    letters that are too large for the request topic.
    """

    codes: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    refused: int = 0


class LetterHandler:
    """Replays or purges the letters of one task.

    Args:
        broker: connected.
        marks: the topic of marks; created when it is missing.
        clock: the Unix time in seconds.
    """

    def __init__(self, broker: Broker, topics: Topics, marks: TopicSpec, clock: Callable[[], float]) -> None:
        self._broker = broker
        self._topics = topics
        self._marks = marks
        self._clock = clock

    async def preview(
        self, what: Done, selection: Selection, *, limit: int | None = None, progress: Progress
    ) -> HandledLetters:
        """What `handle` would do. Changes nothing."""
        preview = HandledLetters()
        async for batch in self._batches(what, selection, limit, preview, progress):
            preview.codes.update(letter.code for _, letter in batch)
        return preview

    async def handle(
        self, what: Done, selection: Selection, *, limit: int | None = None, progress: Progress
    ) -> HandledLetters:
        """Handle at most ``limit`` letters of the selection that have no mark yet.

        A replay publishes the identical body to the request topic, with key and headers, as a first
        attempt. A purge only adds the mark: retention deletes the letter. Both may be interrupted
        and repeated. Raises BrokerError; UsageError without a request topic.
        """
        handled = HandledLetters()
        if what == "replayed" and await self._broker.partitions(self._topics.requests) is None:
            raise UsageError(f"There is no topic {self._topics.requests} to put the requests on.")
        await self._broker.ensure_topics([self._marks])
        async for batch in self._batches(what, selection, limit, handled, progress):
            records = [record for record, _ in batch]
            taken = [True] * len(batch)
            if what == "replayed":
                partitions = await self._partitions_of(
                    {_asked_on(record, self._topics) for record in records}
                )
                taken = await self._publish(
                    [replay_of(record, self._topics, partitions) for record in records]
                )
            done = [entry for entry, was_taken in zip(batch, taken, strict=True) if was_taken]
            await self._publish(mark(record, self._topics, what, self._clock) for record, _ in done)
            handled.codes.update(letter.code for _, letter in done)
            handled.refused += len(batch) - len(done)
        return handled

    async def _partitions_of(self, topics: Iterable[str]) -> dict[str, int]:
        """The partitions of those topics that exist."""
        found = {topic: await self._broker.partitions(topic) for topic in topics}
        return {topic: count for topic, count in found.items() if count is not None}

    async def _publish(self, messages: Iterable[Message]) -> list[bool]:
        """Publish all. False for each message that is too large. Raises BrokerError."""
        published = [self._broker.publish(message) for message in messages]
        results = await asyncio.gather(*published, return_exceptions=True)
        for result in results:
            if result is not None and not isinstance(result, ReplyTooLarge):
                raise result
        return [result is None for result in results]

    async def _batches(
        self, what: Done, selection: Selection, limit: int | None, handled: HandledLetters, progress: Progress
    ) -> AsyncGenerator[list[Entry]]:
        """The letters to handle, at most MAX_PENDING at a time. Counts those without a body."""
        batch = list[Entry]()
        size = 0
        remaining = limit
        async with aclosing(selected(self._broker, self._topics, selection, progress)) as found:
            async for record, letter in found:
                if remaining == 0:
                    break
                if what == "replayed" and letter.left_out is not None:
                    handled.left_out += 1
                    continue
                batch.append((record, letter))
                remaining = None if remaining is None else remaining - 1
                size += letter.bytes
                if len(batch) == MAX_PENDING or size > MAX_PENDING_BYTES:
                    yield batch
                    batch = []
                    size = 0
        if batch:
            yield batch


def replay_of(letter: Record, topics: Topics, partitions: Mapping[str, int]) -> Message:
    """The request of a letter as a first attempt, with its origin; of a chain at the step that has failed.

    ``partitions``: of the topics that exist. It goes to the partition that it had, if that is still there: a producer
    may use its own partitioner.
    """
    kept = tuple(header for header in letter.headers if header[0] not in REMOVED)
    key = None if any(name == Header.KEYLESS for name, _ in letter.headers) else letter.key
    topic = _asked_on(letter, topics)
    if topic not in partitions:  # the origin is only as true as the record that failed
        topic = topics.requests
    name, number = _origin(letter)
    partition = number if name == topic and number < partitions.get(topic, 1) else None
    return Message(topic, letter.value or b"", key, kept, partition)


def _asked_on(letter: Record, topics: Topics) -> str:
    """The topic of requests on which the record of a letter was."""
    return topics.around(_origin(letter)[0]).requests


def _origin(letter: Record) -> tuple[str, int]:
    """Topic and partition of the first delivery; an empty name if they are not known."""
    parts = dict(letter.headers).get(Header.ORIGIN, b"").decode(errors="replace").rsplit("/", 2)
    if len(parts) == 3 and parts[1].isdecimal() and len(parts[1]) < 10:
        return parts[0], int(parts[1])
    return "", 0
