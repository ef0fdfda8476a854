"""Standard output that never holds up the event loop, also if its reader stops reading."""

import asyncio
import os
import select
import sys
from typing import Final

STANDARD_OUTPUT: Final = 1
AT_ONCE_BYTES: Final = 4_096
"""Bytes that a writable pipe takes at once (PIPE_BUF of Linux; POSIX guarantees 512)."""


class PipeOutput:
    """Writes to a descriptor as soon as it can be written. Nothing is held back."""

    def __init__(self, descriptor: int = STANDARD_OUTPUT) -> None:
        sys.stdout.flush()  # what was printed before comes before
        self._descriptor = descriptor

    async def write(self, content: bytes) -> None:
        """Write all of ``content``. Raises BrokenPipeError if its reader has ended."""
        rest = memoryview(content)
        while rest:
            await self._writable()
            rest = rest[os.write(self._descriptor, rest[:AT_ONCE_BYTES]) :]

    async def _writable(self) -> None:
        """Return at once in most cases. An event loop cannot wait for a file, which always can be written."""
        if select.select([], [self._descriptor], [], 0)[1]:
            return
        loop = asyncio.get_running_loop()
        writable = asyncio.Event()
        loop.add_writer(self._descriptor, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._descriptor)
