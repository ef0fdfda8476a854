"""The synchronous client: the `Client` on an event loop in a thread of its own."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Self
from weakref import finalize

from ...schemas.messages import Failure
from ..errors import ShuttingDown, UsageError
from .arguments import check
from .captions.sync_stream import SyncTranslationStream
from .client import Client
from .handover import ENDED, WANTED, MapSteps, Raised, Signal
from .keywords import Content, Item
from .likeness import made_like
from .loop_thread import CLOSED, LoopThread
from .owner import Owner, Unpicklable
from .replies import Answer
from .sync_calls import SyncCalls
from .sync_stream import SyncStream


class SyncClient(SyncCalls, Unpicklable):
    """Sends requests and waits for their replies, for programs without an event loop.

    Any number of threads may share a client. It opens at its first request, in a thread of its own; `close`
    or ``with`` closes it. The arguments and methods are those of `Client`, without ``await``; only an open
    ``broker`` cannot be given, since it belongs to another event loop.

    KeyboardInterrupt ends the request that waits, and the client can be used further. `map` reads its texts
    in the thread that takes the answers.
    """

    client_class: ClassVar[type[Client]] = Client

    @made_like(Client.__init__)
    def __init__(self, *args: Any, **how: Any) -> None:
        if how.get("broker") is not None:
            raise UsageError(
                "An open `broker` belongs to another event loop: give a SyncClient an address, or embedded=."
            )
        self._make = partial(self.client_class, *args, **how)
        self._client = self._make()
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._owner: Owner | None = None
        self._closed = False
        self._maps: set[MapSteps] = set()
        self._forgotten: finalize[..., Any] | None = None

    def __enter__(self) -> Self:
        self._opened()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Fail all requests that wait in other threads with ShuttingDown, and close the connections."""
        if self._owner and self._owner.forked:  # the thread and the sockets are the parent's
            return
        with self._lock:
            self._closed = True
            thread = self._thread
            self._thread = None
        if thread and self._forgotten and self._forgotten.detach():
            _close(thread, self._client, self._maps)

    def _opened(self) -> LoopThread:
        """The thread of the open client. Raises UsageError after a fork, ShuttingDown, or BrokerError."""
        if self._owner:  # before the lock: a fork may have left it locked
            self._owner.check()
        with self._lock:
            if self._closed:
                raise ShuttingDown(CLOSED)
            if self._thread is None:
                self._owner = Owner.process()
                self._thread = self._open()
            return self._thread

    def _open(self) -> LoopThread:
        thread = LoopThread()
        try:
            thread.run(self._client.__aenter__())
        except BaseException:
            thread.stop()
            self._client = self._make()  # the next request tries again
            raise
        self._forgotten = finalize(self, _close_forgotten, thread, self._client, self._maps)
        return thread

    def _request(self, task: str, text: Content, how: dict[str, Any]) -> Answer[Any]:
        return self._opened().run(self._client.request(task, text, **how))

    def _cancel(self, args: tuple[Any, ...], how: dict[str, Any]) -> None:
        self._opened().run(self._client.cancel(*args, **how))

    def _label(self, args: tuple[Any, ...], how: dict[str, Any]) -> None:
        self._opened().run(self._client.label(*args, **how))

    def _stream(self, task: str, text: Content, how: dict[str, Any]) -> SyncStream[Any, Any]:
        return SyncStream(self._opened(), self._client.stream(task, text, **how))

    def _generate(
        self, method: Callable[..., Any], args: tuple[Any, ...], how: dict[str, Any]
    ) -> SyncStream[Any, Any]:
        return SyncStream(self._opened(), method(self._client, *args, **how))

    def _translate_stream(self, args: tuple[Any, ...], how: dict[str, Any]) -> SyncTranslationStream:
        stream = self._client.translate_stream(*args, **how)
        if stream.is_fed:
            raise UsageError("A SyncClient's stream takes no iterable of segments: give them to `send`.")
        return SyncTranslationStream(self._opened(), stream)

    def _map(
        self, task: str, texts: Iterable[Item], how: dict[str, Any]
    ) -> Generator[Answer[Any] | Failure, None, None]:
        check(texts=texts)
        if not isinstance(texts, Iterable):
            raise UsageError(
                "`texts` is asynchronous: give a SyncClient a list or another iterable of texts."
            )
        steps = MapSteps(lambda items: self._client.map(task, items, **how))
        return self._mapped(self._opened(), steps, texts)

    def _mapped(
        self, thread: LoopThread, steps: MapSteps, texts: Iterable[Item]
    ) -> Generator[Answer[Any] | Failure, None, None]:
        items = iter(texts)
        item: object = WANTED
        self._maps.add(steps)
        try:
            while (step := thread.run(steps.step(item))) is not ENDED:
                item = WANTED
                if step is WANTED:
                    item = _next_of(items)
                elif not isinstance(step, Signal):
                    yield step
        finally:
            self._maps.discard(steps)
            with suppress(ShuttingDown, UsageError):  # closed; or in a fork
                thread.run(steps.close())


def _close(thread: LoopThread, client: Client, maps: set[MapSteps]) -> None:
    try:
        thread.run(_end(client, maps))
    finally:
        thread.stop()


async def _end(client: Client, maps: set[MapSteps]) -> None:
    try:
        await client.__aexit__(None, None, None)
    finally:
        for steps in list(maps):
            await steps.close()


def _close_forgotten(thread: LoopThread, client: Client, maps: set[MapSteps]) -> None:
    """Close a client that was not, when it is collected or the program ends.

    After the end of the program its thread stands still: a map that is collected then would wait for it.
    """
    with suppress(Exception):
        _close(thread, client, maps)


def _next_of(items: Iterator[Item]) -> object:
    """The next item; what ``items`` raises, to be raised after the answers to the items before."""
    try:
        return next(items)
    except StopIteration:
        return Raised(StopAsyncIteration())
    except Exception as error:
        return Raised(error)
