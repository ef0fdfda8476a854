"""Python's cycle collector in a process that does nothing but serve."""

import gc

YOUNG = 100_000
"""Objects that survive between two collections. The default of 700 is reached within ten requests in flight, and each
collection then walks all that wait: it was more than half of the time of a cached reply."""


def collect_rarely() -> None:
    """Leave what is loaded out of collections, and collect seldom: requests make no reference cycles.

    For a process of the worker's own, after the models are loaded: the setting is the whole process's.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 100)
