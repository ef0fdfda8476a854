"""Reads the dead letters of one task."""

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
from .letter import Letter, LetterPosition, Selection, letter_of
from .marks import Marks

SILENCE_MS: Final = 5_000
Progress = Callable[[int, int], None]


class Listing(Struct):
    """The newest letters, oldest first, and the number of all letters by code."""

    letters: list[Letter] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)


async def selected(
    broker: Broker, topics: Topics, selection: Selection, progress: Progress, *, handled: bool = False
) -> AsyncGenerator[tuple[Record, Letter]]:
    """The letters of the selection that have no mark; with ``handled`` also those that have one.

    Reads to the present end, in bounded memory. Raises BrokerError; UsageError without the topic.
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
    """The newest ``limit`` letters. Raises BrokerError; UsageError without the topic."""
    whole = Listing()
    order = count()  # no comparison of two letters
    newest = list[tuple[int, int, Letter]]()
    async with aclosing(selected(broker, topics, selection, progress, handled=handled)) as found:
        async for _, letter in found:
            whole.codes[letter.code] += 1
            heapq.heappush(newest, (letter.failed_at_ms, next(order), letter))
            if len(newest) > limit:
                heapq.heappop(newest)
    whole.letters = [letter for _, _, letter in sorted(newest, key=lambda entry: entry[:2])]
    return whole


async def letter_at(broker: Broker, topics: Topics, position: LetterPosition) -> tuple[Record, Letter]:
    """The letter at a position. Raises BrokerError; UsageError when there is none."""
    await _require(broker, topics)
    at = TopicPartition(topics.dead_letters, position.partition)
    gone = UsageError(f"The dead letter {position} is gone: retention has deleted it.")
    consumer = await broker.consume([at.topic])
    try:
        if at not in consumer.assignment() or (await consumer.end_offsets([at]))[at] <= position.offset:
            raise UsageError(f"There is no dead letter {position}: use `list` to see all.")
        if (await consumer.begin_offsets([at]))[at] > position.offset:
            raise gone
        consumer.pause(consumer.assignment() - {at})
        await consumer.seek({at: position.offset})
        records = await consumer.poll(1, SILENCE_MS)
    finally:
        await consumer.close()
    if not records or records[0].offset != position.offset:
        raise gone
    with Marks() as marks:
        await marks.read(broker, topics)
        return records[0], letter_of(records[0], marks.of(records[0]))


async def _require(broker: Broker, topics: Topics) -> None:
    if await broker.partitions(topics.dead_letters) is None:
        raise UsageError(
            f"There is no topic {topics.dead_letters}: check the name of the task and --topic-prefix."
        )
