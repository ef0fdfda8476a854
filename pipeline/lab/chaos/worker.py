"""A worker process of a chaos run: the real pipeline, with a session and a clock that can fail.

Runs as a program. It ends when its standard input closes, so it cannot outlive the run.
"""

import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from .settings import WorkerSettings
from .stepped_clock import SteppedClock


def main(argument: str) -> None:
    """Serve until SIGTERM; ``argument`` is the JSON of `WorkerSettings`."""
    settings = msgspec.json.decode(argument, type=WorkerSettings)
    clock = SteppedClock()
    # Before the pipeline is imported: its functions have time.time as a default argument.
    time.time = clock
    time.time_ns = clock.ns
    threading.Thread(target=end_with_input, daemon=True).start()
    from .serving import serve

    serve(settings, clock)


def end_with_input() -> None:
    """End the process when its standard input closes."""
    # Not sys.stdin: its lock, held by a reading thread, aborts the interpreter at its exit.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
