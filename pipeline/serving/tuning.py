"""Python in a process that does nothing but serve."""

import gc
import sys

YOUNG_OBJECTS = 10_000
"""Objects made between two collections. The default of 700 is reached within a hundred requests in flight, and a full
collection walks all that wait: it was more than half of the time of a cached reply. Much rarer must it not be either:
each fetch of aiokafka leaves a cycle that holds what was fetched, up to a megabyte."""

SWITCH_S = 0.001
"""How long a thread keeps the interpreter while others want it. With the default of 5 ms a lane that has finished a
batch, or the event loop behind a busy thread, waits as long as a small batch takes to run."""


def tune_process() -> None:
    """Collect garbage more rarely, since requests make no reference cycles; give way to other threads soon.

    For a process of the worker's own, after the models are loaded: the settings are the whole process's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
    sys.setswitchinterval(SWITCH_S)
