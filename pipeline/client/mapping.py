"""Maps a stream of items to a stream of replies: bounded, in order or unordered."""

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
    """Send each item and yield its finished future.

    Reads ``items`` only as fast as the futures are consumed: at most ``max_in_flight`` items are sent whose
    future is not consumed yet. What ``items`` or ``send`` raises, is raised after the futures of the items before.
    On exit, cancels all other futures.

    Args:
        ordered: yield the futures in the order of ``items``; otherwise in the order of completion.
    """
    slots = asyncio.Semaphore(max_in_flight)
    ready: asyncio.Queue[asyncio.Future[Reply] | None] = asyncio.Queue()
    sent: set[asyncio.Future[Reply]] = set()

    async def feed() -> None:
        failure: Exception | None = None
        try:
            try:
                async for item in _each(items):
                    await slots.acquire()
                    future = send(item)
                    sent.add(future)
                    if ordered:
                        ready.put_nowait(future)
                    else:
                        future.add_done_callback(ready.put_nowait)
            except Exception as error:
                failure = error
            if sent:
                await asyncio.wait(sent)
        finally:
            ready.put_nowait(None)
        if failure:
            raise failure

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


def resolved(result: Reply) -> asyncio.Future[Reply]:
    """A future that has its result."""
    future: asyncio.Future[Reply] = asyncio.Future()
    future.set_result(result)
    return future
