"""Settings of the Python interpreter for a process that only serves."""

import gc
import sys

YOUNG_OBJECTS = 10_000
"""Objects made between two collections. The default of 700 is reached within a hundred requests in flight, and a full
collection walks all objects of the waiting requests: it took more than half of the time of a cached reply. It must not
be much rarer, either: each fetch of aiokafka leaves a reference cycle that holds the fetched bytes, up to 1 MB."""

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
