"""Gives memory that was freed back to the system."""

import ctypes
from contextlib import suppress


def give_back_memory() -> None:
    """Call it when a model was freed. Only the C library of most Linux systems has the function; else nothing happens.

    It keeps what is freed for the thread that took it, and each release is loaded by a thread of its own.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
