"""The event loop and the process that a client belongs to."""

import asyncio
import os
from typing import Any, Self

from ..errors import UsageError


class Unpicklable:
    """What cannot be sent to another process."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise UsageError("A client cannot be sent to another process: make one there.")


class Owner:
    """Where a client was opened: its futures and its connections work only there."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, pid: int) -> None:
        self._loop = loop
        self._pid = pid

    @classmethod
    def here(cls) -> Self:
        """The running event loop and this process."""
        return cls(asyncio.get_running_loop(), os.getpid())

    @classmethod
    def process(cls) -> Self:
        """This process, with any event loop."""
        return cls(None, os.getpid())

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one where the client was opened."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raise UsageError in another process or event loop."""
        if self.forked:
            raise UsageError(
                f"This client was opened by the process {self._pid}, and this is a fork of it ({os.getpid()}): "
                "open a client after the fork."
            )
        if self._loop and asyncio.get_running_loop() is not self._loop:
            raise UsageError(
                "This client was opened on another event loop: open one on each loop, "
                "or share a SyncClient, which any thread may use."
            )
