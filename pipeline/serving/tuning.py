"""Settings of the Python interpreter for a process that only serves."""

import gc
import sys

from threadpoolctl import threadpool_limits

YOUNG_OBJECTS = 150_000
"""Objects that are made and not freed between two collections. A collection walks all requests in flight, which takes
25 ms, and finds nothing: neither a request nor a fetch makes reference cycles. With 50 000 it took 9 µs a request, with
10 000 a sixth of the event loop's time. What fails may make cycles, so garbage is collected all the same."""

SWITCH_S = 0.001
"""Seconds that a thread keeps the interpreter lock while others wait for it. The default of 5 ms is as long as a small
batch runs: a lane that has finished a batch, and the event loop, would wait that long for a busy thread."""


def tune_process() -> None:
    """Collect garbage more rarely, since requests make no reference cycles; switch threads sooner; let NumPy multiply
    in the thread that asks for it.

    Its products are small: with two threads, of which each waits busily for the other, the static tier of triage took
    260 to 610 µs of CPU for a text, and 11 µs with one.

    Call it after the models are loaded, in a process that only serves: the settings hold for the whole process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
    sys.setswitchinterval(SWITCH_S)
    threadpool_limits(1, user_api="blas")
