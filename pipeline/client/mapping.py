"""A stream of items to a stream of replies: bounded, in order or as they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")


async def mapped(
    items: Iterable[Item] | AsyncIterable[Item],
    send: Callable[[Item], asyncio.Future[Reply]],
    *,
    max_in_flight: int,
    ordered: bool,
) -> AsyncGenerator[asyncio.Future[Reply], None]:
    """The finished future of each item; of no more than ``max_in_flight`` items that are sent and not yet taken.

    Reads ``items`` only as fast as the futures are taken, and raises what reading or sending them raises. Futures
    that nobody takes any more are cancelled.
    """
    slots = asyncio.Semaphore(max_in_flight)
    ready: asyncio.Queue[asyncio.Future[Reply] | None] = asyncio.Queue()
    sent: set[asyncio.Future[Reply]] = set()

    async def feed() -> None:
        try:
            async for item in _each(items):
                await slots.acquire()
                future = send(item)
                sent.add(future)
                if ordered:
                    ready.put_nowait(future)
                else:
                    future.add_done_callback(ready.put_nowait)
            for _ in range(max_in_flight):  # the last one is free when all have been taken
                await slots.acquire()
        finally:
            ready.put_nowait(None)

    feeder = asyncio.create_task(feed())
    try:
        while future := await ready.get():
            if not future.done():
                await asyncio.wait([future])
            sent.discard(future)
            yield future
            slots.release()
        await feeder
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)
        for future in sent:
            future.cancel()


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
