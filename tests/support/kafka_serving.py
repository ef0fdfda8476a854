"""Workers in the process of a test, and conditions that are asked of a broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from inferstream.pipeline.serving.serving import Serving

CHECK_S = 0.02


@asynccontextmanager
async def running(serving: Serving) -> AsyncIterator["asyncio.Task[None]"]:
    """The worker, running; drained at the end."""
    task = asyncio.create_task(serving.run())
    while not (serving.ready or task.done()):  # noqa: ASYNC110 - a worker has no event for it
        await asyncio.sleep(CHECK_S)
    try:
        yield task
    finally:
        serving.drain()
        await task


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until the condition holds; the test limits the time."""
    while not await condition():  # noqa: ASYNC110 - a broker has no event for it
        await asyncio.sleep(CHECK_S)
