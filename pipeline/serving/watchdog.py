"""Ends the process when its event loop is blocked, so that a supervisor restarts it."""

import asyncio
import faulthandler
import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

log = logging.getLogger(__name__)

STALLED: Final = 70
"""The exit status, EX_SOFTWARE of sysexits.h: the program itself is at fault."""

LAST_RESORT: Final = 1.5
"""The limit of the interpreter's own timer, as a multiple of the watchdog's. It ends the process with status 1."""

STDERR: Final = 2
"""The file descriptor: `sys.stderr` may be replaced, or be no file."""

CHECKS: Final = 10
"""Checks within the limit. That many missed ones in a row end the process."""


class Watchdog:
    """A thread that checks whether the event loop still runs. Use it with ``with``, on the loop.

    A blocked loop sends no heartbeats: the group has given its partitions to other members.
    A call that holds the interpreter lock stops this thread as well. For that case each beat of the
    loop sets a timer of faulthandler anew, which needs no lock: it prints all stacks and ends the
    process. There is one such timer in a process.

    Args:
        limit_s: seconds that the loop may be blocked.
        end: ends the process with a status; called at most once.
    """

    def __init__(self, limit_s: float = 30.0, *, end: Callable[[int], object] = os._exit) -> None:
        self._limit_s = limit_s
        self._end = end
        self._beats = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._next.cancel()
        faulthandler.cancel_dump_traceback_later()
        self._thread.join()

    def _beat(self) -> None:
        self._beats += 1
        faulthandler.dump_traceback_later(self._limit_s * LAST_RESORT, exit=True, file=STDERR)
        self._next = self._loop.call_later(self._limit_s / CHECKS / 2, self._beat)

    def _watch(self) -> None:
        # Counts checks, not seconds: after the whole process was suspended, seconds have passed and the loop is fine.
        seen = missed = 0
        while not self._stopped.wait(self._limit_s / CHECKS):
            missed = missed + 1 if self._beats == seen else 0
            seen = self._beats
            if missed == CHECKS:
                log.critical(
                    "The event loop was blocked for %g s: the process ends now, with status %d. "
                    "The stacks of its threads are printed next.",
                    self._limit_s,
                    STALLED,
                )
                faulthandler.dump_traceback()
                self._end(STALLED)
                return
