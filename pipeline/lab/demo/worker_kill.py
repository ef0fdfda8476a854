"""The end of a worker in the middle of a demo: SIGKILL, so that it can neither finish nor say anything."""

import asyncio
import time
from collections.abc import Sequence

from ..worker_process import WorkerProcess


class WorkerKill:
    """Kills the one of ``workers`` that answers the most requests, once there are ``after_tokens``."""

    number: int | None = None
    """The killed worker, counted from 1; None while all run."""
    requests: int = 0
    """How many it was answering."""
    at: float | None = None

    def __init__(self, workers: Sequence[WorkerProcess], after_tokens: int) -> None:
        self._workers = workers
        self._after_tokens = after_tokens
        self._due = asyncio.Event()

    def told(self, tokens: int) -> None:
        """Called with the number of all tokens until now."""
        if tokens >= self._after_tokens:
            self._due.set()

    async def run(self) -> None:
        """Return when the worker has been killed."""
        await self._due.wait()
        running = await asyncio.gather(*(asyncio.to_thread(worker.in_flight) for worker in self._workers))
        self.requests = max(running)
        index = running.index(self.requests)
        await asyncio.to_thread(self._workers[index].kill)
        self.at = time.perf_counter()
        self.number = index + 1
