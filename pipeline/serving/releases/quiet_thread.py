"""Runs work that takes seconds beside a worker that serves: in a thread of its own, which yields to all others."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

from ...daemon_thread import in_daemon_thread

T = TypeVar("T")

NICE: Final = 10
"""Of 19: it gets about a tenth of a core that a lane wants too. Linux keeps this for each thread."""


async def in_quiet_thread(work: Callable[[], T], name: str) -> T:
    """What ``work`` returns or raises. A process that ends does not wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():  # else nothing waits for it any more
            done.set_result(None)

    def tell(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish)

    def run() -> T:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        return work()

    future = in_daemon_thread(run, name)
    future.add_done_callback(tell)
    await done
    try:
        return future.result()
    finally:
        del future
