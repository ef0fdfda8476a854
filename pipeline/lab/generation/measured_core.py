"""The core on which all that is measured runs; the broker and the load have the others."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..bench.processes import brokers


class MeasuredCore:
    """The last core that this process may use. Where a process cannot choose its cores, it chooses none."""

    def __init__(self) -> None:
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
        self._measured = {max(allowed)} if allowed else set[int]()
        self._others = allowed - self._measured or allowed

    def stay(self) -> Callable[[], None]:
        """Keep this thread, and the brokers that this process has started, on the other cores, until a call."""
        if not self._others:
            return lambda: None
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._others)
        for broker in brokers():
            for thread in broker.threads():
                _move(thread.id, self._others)
        return lambda: os.sched_setaffinity(0, before)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """The processes that this thread starts inside run on the core."""
        if not self._measured:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._measured)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def _move(thread: int, cores: set[int]) -> None:
    with suppress(OSError):  # it has ended
        os.sched_setaffinity(thread, cores)
