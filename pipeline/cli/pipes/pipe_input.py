"""Standard input that can be left while a thread waits for it."""

import os
import select
from typing import Final

STANDARD_INPUT: Final = 0


class PipeInput:
    """The bytes of a descriptor. `stop` ends them at once, also for a read that waits for the next ones.

    `sys.stdin` cannot do that: a thread that waits in it would stop the program from ending.
    """

    def __init__(self, descriptor: int = STANDARD_INPUT) -> None:
        self._descriptor = descriptor
        self._stopping, self._stopper = os.pipe()
        self._ended = False

    def read1(self, size: int) -> bytes:
        """What is there, at most ``size`` bytes; waits for the first one. Empty at the end, and from then on."""
        if self._ended:  # a terminal tells it once: a reader that asks again would wait for a second Ctrl-D
            return b""
        ready, _, _ = select.select([self._descriptor, self._stopping], [], [])
        found = b"" if self._stopping in ready else os.read(self._descriptor, size)
        self._ended = not found
        return found

    def stop(self) -> None:
        os.write(self._stopper, b".")

    def close(self) -> None:
        os.close(self._stopping)
        os.close(self._stopper)
