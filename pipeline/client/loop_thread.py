"""An event loop in a thread of its own, for callers that have none."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from ..errors import ShuttingDown, UsageError
from .owner import Owner

CLOSED: Final = "The client is closed: make a new one."

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for any number of other threads, from its construction until `stop`."""

    def __init__(self) -> None:
        self._owner = Owner.process()
        self._lock = threading.Lock()
        self._stopped = False
        self._stop = asyncio.Event()
        started: Future[asyncio.AbstractEventLoop] = Future()
        # A daemon: a program that forgets to close its client ends nevertheless.
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name="inferstream-client", daemon=True
        )
        self._thread.start()
        self._loop = started.result()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine on the loop, and return its result or raise its error.

        An exception in this thread, as KeyboardInterrupt, cancels the coroutine. Raises ShuttingDown after
        `stop`, and UsageError in the loop's own thread, which would wait for itself.
        """
        try:
            future = self._submit(coroutine)
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except CancelledError:
            if self._stopped:
                raise ShuttingDown(CLOSED) from None
            raise
        except BaseException:
            future.cancel()
            raise

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        self._owner.check()  # before the lock: a fork may have left it locked
        if threading.get_ident() == self._thread.ident:
            raise UsageError(
                "A SyncClient cannot be used inside of its own event loop: use the Client there."
            )
        with self._lock:
            if self._stopped:
                raise ShuttingDown(CLOSED)
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self) -> None:
        """Cancel what still runs, and end the thread. May be called more than once."""
        if self._owner.forked:
            return
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._loop.call_soon_threadsafe(self._stop.set)
        if threading.get_ident() != self._thread.ident:
            self._thread.join()

    def _serve(self, started: "Future[asyncio.AbstractEventLoop]") -> None:
        async def main() -> None:
            started.set_result(asyncio.get_running_loop())
            await self._stop.wait()

        try:
            with asyncio.Runner() as runner:
                runner.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)  # no event loop could be made
