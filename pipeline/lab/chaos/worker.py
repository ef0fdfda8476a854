"""A worker process of a chaos run: the real pipeline, around a session and a clock that can be made to misbehave.

Runs as a program. It ends with its standard input, so that none outlives the run.
"""

import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from .settings import Settings
from .stepped_clock import SteppedClock


def main(argument: str) -> None:
    """Serve until SIGTERM; ``argument`` is the JSON of `Settings`."""
    settings = msgspec.json.decode(argument, type=Settings)
    clock = SteppedClock()
    # Before the pipeline is imported: its clocks are default arguments.
    time.time, time.time_ns = clock, clock.ns
    threading.Thread(target=_end_with_input, daemon=True).start()
    from .serving import serve

    serve(settings, clock)


def _end_with_input() -> None:
    # Not through sys.stdin: the lock of a buffer that a thread reads from aborts the interpreter at its exit.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
