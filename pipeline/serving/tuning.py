"""Settings of the Python interpreter for a process that only serves."""

import gc
import sys

YOUNG_OBJECTS = 50_000
"""Objects made between two collections. A poll of 256 requests makes 10 000, which are freed when these are answered. A
collection that finds nothing walked all of them, and took a sixth of the event loop's time. Neither a request nor a
fetch makes reference cycles; what fails may make some, so garbage is collected all the same."""

SWITCH_S = 0.001
"""Seconds that a thread keeps the interpreter lock while others wait for it. The default of 5 ms is as long as a small
batch runs: a lane that has finished a batch, and the event loop, would wait that long for a busy thread."""


def tune_process() -> None:
    """Collect garbage more rarely, since requests make no reference cycles; switch threads sooner.

    Call it after the models are loaded, in a process that only serves: the settings hold for the whole process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
    sys.setswitchinterval(SWITCH_S)
