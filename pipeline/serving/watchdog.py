"""Ends the process when its event loop stands still, so that a supervisor starts it anew."""

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

CHECKS: Final = 10


class Watchdog:
    """A thread that looks whether the event loop still turns. Use it with ``with``, on the loop.

    A loop that stands still sends no heartbeats: its partitions have other owners by then, and it does not know.

    Args:
        limit_s: how long the loop may stand still.
        end: ends the process with a status, and may be called once.
    """

    def __init__(self, limit_s: float = 30.0, *, end: Callable[[int], object] = os._exit) -> None:
        self._limit_s, self._end = limit_s, end
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
        self._thread.join()

    def _beat(self) -> None:
        self._beats += 1
        self._next = self._loop.call_later(self._limit_s / CHECKS / 2, self._beat)

    def _watch(self) -> None:
        # Checks are counted, not seconds: a process that was suspended as a whole has not stalled.
        seen = missed = 0
        while not self._stopped.wait(self._limit_s / CHECKS):
            missed = missed + 1 if self._beats == seen else 0
            seen = self._beats
            if missed == CHECKS:
                log.critical(
                    "The event loop has stood still for %g s: the process ends now, with status %d. "
                    "What its threads were doing is printed next.",
                    self._limit_s,
                    STALLED,
                )
                faulthandler.dump_traceback()
                self._end(STALLED)
                return
