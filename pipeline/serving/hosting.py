"""The interface between a worker and its host process, and the host that every install has."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from ..broker.base import Broker
from ..errors import InferstreamError
from .serving import Serving
from .shutdown import run_until_signaled
from .vitals import Vitals
from .watchdog import Watchdog

log = logging.getLogger(__name__)

CLOSING_S: Final = 5.0
"""Seconds to leave the group and close the files, after a drain or an error."""

CHECK_INTERVAL_S: Final = 0.1


@dataclass
class Hosted:
    """A worker process with its broker, for a `Host`: which runs it, drains it on a signal, ends with its error.

    Attributes:
        drain_timeout_ms: longest time between the signal and the end of the worker.
        draining: whether `drain` was called.
        failure: a sentence on the error that ended the worker, for the log if the process cannot close.
    """

    broker: Broker
    serving: Serving
    drain_timeout_ms: int
    draining: bool = False
    failure: str = "The worker has failed."

    async def run(self) -> None:
        """Connect and serve until drained. Raises the error that ended it, as `one_error` chooses it."""
        with one_error():
            async with asyncio.TaskGroup() as tasks:
                guard = tasks.create_task(self._end_process_if_closing_hangs())
                async with self.broker:
                    await self._serve()
                guard.cancel()

    async def _serve(self) -> None:
        try:
            with one_error():
                await self.serving.run()
        except Exception as error:
            self.failure = str(error)
            raise

    def drain(self) -> None:
        """Read nothing more and finish what runs; then `run` returns."""
        self.draining = True
        self.serving.drain()

    @property
    def limit_s(self) -> float:
        """Seconds that the process may live after the first signal."""
        return self.drain_timeout_ms / 1e3 + CLOSING_S

    def vitals(self) -> Vitals:
        """What the host must let log regularly."""
        return Vitals(self.serving.metrics, lambda: self.serving.running)

    async def _end_process_if_closing_hangs(self) -> None:
        """End the process if a failed worker does not close in `CLOSING_S`: a device or broker hangs."""
        served = False
        closing_s = 0.0
        while closing_s < CLOSING_S:
            await asyncio.sleep(CHECK_INTERVAL_S)
            served = served or self.serving.ready
            failed = served and not self.serving.ready and not self.draining
            closing_s += CHECK_INTERVAL_S * failed
        log.critical("%s It could not close in %g s either: the process ends now.", self.failure, CLOSING_S)
        os._exit(1)


class Host(Protocol):
    """What the entry points `inferstream.hosts` name: runs the worker, returns after a drain."""

    def __call__(self, hosted: Hosted, *, web_host: str, web_port: int) -> None: ...


def run_alone(hosted: Hosted) -> None:
    """Host the worker in this process, without a web server. Returns after a drain."""
    run_until_signaled(lambda: _serve(hosted), hosted.drain, hosted.limit_s)


async def _serve(hosted: Hosted) -> None:
    with Watchdog(), one_error():
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(hosted.vitals().watch())
            await hosted.run()
            watching.cancel()


@contextmanager
def one_error() -> Iterator[None]:
    """Raise one error in place of an exception group: the first defect, else the first error."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        raise next(
            (error for error in errors if not isinstance(error, InferstreamError)), errors[0]
        ) from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
