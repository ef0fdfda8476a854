"""SIGTERM and SIGINT: the first drains the worker, the second ends its process."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Final, Self

from ..errors import DeviceLost

log = logging.getLogger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
EXIT_S: Final = 10
"""Seconds that the exit of a process may take whose device is lost."""

ECHO_S: Final = 0.25
"""A second signal this soon is an echo of the first: a parent process passed it on."""


class Shutdown:
    """The first signal drains, a second one ends the process at once with 128 + its number.

    Use it with ``with``, in the main thread. A drain that is not over in time ends the process with
    status 1: requests that are unanswered by then are not committed, so another worker answers them.

    Args:
        drain: called once, from a signal handler: it must return at once.
        limit_s: seconds that the process may live after the first signal.
        end: ends the process with a status, without flushing.
    """

    def __init__(
        self,
        drain: Callable[[], object],
        limit_s: float,
        *,
        end: Callable[[int], object] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drain = drain
        self._limit_s = limit_s
        self._end = end
        self._clock = clock
        self._first_at: float | None = None
        self._timer = threading.Timer(limit_s, self._overdue)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self.signaled) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._timer.cancel()

    def signaled(self, number: int, frame: FrameType | None = None) -> None:
        """The signal handler."""
        now = self._clock()
        if self._first_at is None:
            self._first_at = now
            self._timer.start()
            self._drain()
        elif now - self._first_at > ECHO_S:
            self._end(128 + number)

    def _overdue(self) -> None:
        log.critical("The drain was not over in %g s: the process ends now.", self._limit_s)
        self._end(1)


def run_until_signaled(
    main: Callable[[], Coroutine[Any, Any, None]], drain: Callable[[], None], limit_s: float
) -> None:
    """Run ``main`` on an event loop of its own; a signal calls ``drain`` there, after which ``main`` must return."""
    runner = asyncio.Runner()
    try:
        with Shutdown(partial(_call_on, runner.get_loop(), drain), limit_s), runner:
            runner.run(main())
    except DeviceLost:
        # A device that hangs can hold the process in its exit, where no thread of Python runs: then the kernel ends it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(EXIT_S)
        raise


def _call_on(loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(drain)
