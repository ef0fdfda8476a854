"""`Client.map` for a thread without an event loop: items go in and answers come out one at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from ...schemas.messages import Failure
from ..errors import ShuttingDown
from .loop_thread import CLOSED
from .replies import Answer


class Signal:
    """A step of a map that is no answer."""


WANTED: Final = Signal()
"""The map reads its next item: hand it over."""
ENDED: Final = Signal()

Item = TypeVar("Item")


async def next_or_ended(items: AsyncIterator[Item]) -> Item | Signal:
    """The next of ``items``; ENDED behind the last one. A thread cannot be given StopAsyncIteration."""
    return await anext(items, ENDED)


class Raised(NamedTuple):
    """What the reading of the next item has raised; StopAsyncIteration after the last item."""

    error: Exception


class Handover(AsyncIterator[Any]):
    """Items that another thread gives one at a time, when they are wanted."""

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self._given: asyncio.Queue[Any] = asyncio.Queue()

    def give(self, item: object) -> None:
        """The next item; Raised in its place is raised."""
        self.wanted.clear()
        self._given.put_nowait(item)

    async def __anext__(self) -> Any:
        self.wanted.set()
        item = await self._given.get()
        if isinstance(item, Raised):
            raise item.error
        return item


class MapSteps:
    """A map that is driven from another thread. Each coroutine runs on the client's event loop."""

    def __init__(self, begin: Callable[[AsyncIterator[Any]], AsyncGenerator[Answer[Any] | Failure]]) -> None:
        self._items = Handover()
        self._answers = begin(self._items)
        self._next: asyncio.Task[Answer[Any] | Failure | Signal] | None = None
        self._closed = False

    async def step(self, item: object = WANTED) -> Answer[Any] | Failure | Signal:
        """Hand over ``item`` if there is one. Return the next answer, WANTED or ENDED."""
        if item is not WANTED:
            self._items.give(item)
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._answers, ENDED))
        wanted = asyncio.ensure_future(self._items.wanted.wait())
        try:
            await asyncio.wait({self._next, wanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
        if not self._next.done():
            return WANTED
        finished = self._next
        self._next = None
        if self._closed:
            with suppress(asyncio.CancelledError):
                finished.exception()  # seen, so that asyncio does not log it
            raise ShuttingDown(CLOSED)
        return finished.result()

    async def close(self) -> None:
        """Leave the map. Requests without an answer are given up; a `step` that waits raises ShuttingDown."""
        self._closed = True
        if self._next:
            self._next.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._next
        await self._answers.aclose()
