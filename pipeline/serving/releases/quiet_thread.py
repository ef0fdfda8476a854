"""Runs work that takes seconds beside a worker that serves: in a thread of its own, which yields to all others."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

NICE: Final = 10
"""Of 19: it gets about a tenth of a core that a lane wants too. Linux keeps this for each thread."""


async def in_quiet_thread(work: Callable[[], T], name: str) -> T:
    """What ``work`` returns or raises. A process that ends does not wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():  # nothing waits for it any more
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        result: T | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, result, failed)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
