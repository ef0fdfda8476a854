"""Items of an input that come at any time: a thread reads them, and the event loop goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Generic, NamedTuple, Self, TypeVar

from .pipe_input import PipeInput

Item = TypeVar("Item")


class Room:
    """How many items, and of how many bytes, may be on their way at a time. One item always may."""

    def __init__(self, items: int, size_bytes: int) -> None:
        self._items = items
        self._bytes = size_bytes
        self._free = threading.Condition()
        self._closed = False

    def take(self, size: int) -> bool:
        """Wait for room in a thread. False if the room was closed."""
        with self._free:
            self._free.wait_for(lambda: self._closed or (self._items > 0 and self._bytes > 0))
            self._items -= 1
            self._bytes -= size
            return not self._closed

    def give_back(self, size: int) -> None:
        with self._free:
            self._items += 1
            self._bytes += size
            self._free.notify()

    def close(self) -> None:
        with self._free:
            self._closed = True
            self._free.notify()


class Sized(NamedTuple, Generic[Item]):
    """An item that came, and the room that it takes."""

    item: Item
    size: int


class _Ended(NamedTuple):
    """No item follows; with the error that ended them, if there was one."""

    error: Exception | None = None


class Arriving(AsyncIterator[Sized[Item]]):
    """Items that a thread reads. Use it with ``with``: leaving stops the thread.

    Args:
        source: what the items are read from.
        items: reads the next item; called in the thread.
        room: bounds what was read and not given back.
    """

    def __init__(self, source: PipeInput, items: Iterator[Sized[Item]], room: Room) -> None:
        self._source = source
        self._items = items
        self._room = room
        self._queue: asyncio.Queue[Sized[Item] | _Ended] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, name="standard input")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._source.stop()
        self._room.close()
        self._thread.join()

    async def __anext__(self) -> Sized[Item]:
        arrived = await self._queue.get()
        if isinstance(arrived, _Ended):
            raise arrived.error or StopAsyncIteration
        return arrived

    def _read(self) -> None:
        ended = _Ended()
        try:
            for sized in self._items:
                if not self._room.take(sized.size):
                    return
                self._hand_over(sized)
        except Exception as error:  # raised to the reader of the items
            ended = _Ended(error)
        self._hand_over(ended)

    def _hand_over(self, what: Sized[Item] | _Ended) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, what)
