"""Looking at the dead letters of one task."""

import heapq
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from typing import Final

from msgspec import Struct, field

from ....schemas.topics import Topics
from ...broker.base import Broker, Record, TopicPartition
from ...errors import UsageError
from ..scan import Scan
from .letter import Letter, Place, Selection, letter_of
from .marks import Marks

SILENCE_MS: Final = 5_000
Progress = Callable[[int, int], None]


class Listing(Struct):
    """The newest letters, oldest first, and how many there are in all, by code."""

    letters: list[Letter] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)


async def selected(
    broker: Broker, topics: Topics, selection: Selection, progress: Progress, *, handled: bool = False
) -> AsyncGenerator[tuple[Record, Letter]]:
    """The letters of the selection that nobody has dealt with yet; with ``handled`` those others, too.

    Reads to the present end, in bounded memory. Raises BrokerError, UsageError without such a topic.
    """
    await _require(broker, topics)
    with Marks() as marks:
        await marks.read(broker, topics)
        async with Scan.open(broker, [topics.dead_letters]) as scan, aclosing(scan.batches()) as batches:
            async for records in batches:
                progress(scan.done, scan.total)
                for record in records:
                    done = marks.of(record)
                    letter = letter_of(record, done)
                    if (handled or done is None) and selection.takes(record, letter):
                        yield record, letter


async def listing(
    broker: Broker,
    topics: Topics,
    selection: Selection,
    *,
    limit: int,
    handled: bool = False,
    progress: Progress = lambda done, total: None,
) -> Listing:
    """The newest ``limit`` letters of the selection. Raises BrokerError, UsageError without such a topic."""
    whole, order, newest = Listing(), count(), list[tuple[int, int, Letter]]()
    async with aclosing(selected(broker, topics, selection, progress, handled=handled)) as found:
        async for _, letter in found:
            whole.codes[letter.code] += 1
            heapq.heappush(newest, (letter.failed_at_ms, next(order), letter))
            if len(newest) > limit:
                heapq.heappop(newest)
    whole.letters = [letter for _, _, letter in sorted(newest, key=lambda entry: entry[:2])]
    return whole


async def one(broker: Broker, topics: Topics, place: Place) -> tuple[Record, Letter]:
    """The letter at a place. Raises BrokerError, UsageError when there is none."""
    await _require(broker, topics)
    at = TopicPartition(topics.dead_letters, place.partition)
    gone = UsageError(f"The dead letter {place} is gone: its retention is over.")
    consumer = await broker.consume([at.topic])
    try:
        if at not in consumer.assignment() or (await consumer.end_offsets([at]))[at] <= place.offset:
            raise UsageError(f"There is no dead letter {place}: `list` shows those there are.")
        if (await consumer.begin_offsets([at]))[at] > place.offset:
            raise gone
        consumer.pause(consumer.assignment() - {at})
        await consumer.seek({at: place.offset})
        records = await consumer.poll(1, SILENCE_MS)
    finally:
        await consumer.close()
    if not records or records[0].offset != place.offset:
        raise gone
    with Marks() as marks:
        await marks.read(broker, topics)
        return records[0], letter_of(records[0], marks.of(records[0]))


async def _require(broker: Broker, topics: Topics) -> None:
    if await broker.partitions(topics.dead_letters) is None:
        raise UsageError(
            f"There is no topic {topics.dead_letters}: look at the task's name and at --topic-prefix."
        )
