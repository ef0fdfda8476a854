"""Gives memory that was freed back to the system, where the C library has the functions, as on most Linux systems."""

import ctypes
from contextlib import suppress
from typing import Final

LARGE: Final = 1_000_000
"""Bytes of a block that is given back when it is freed."""

M_MMAP_THRESHOLD: Final = -3


def keep_large_blocks_apart() -> None:
    """Call it before models are loaded that others will replace. It holds for the whole process.

    The library raises the size from which a block has pages of its own, up to 32 MB, with each such block that is
    freed: the weights of later models lie among small blocks, and what is freed between these stays. After 12 exchanges
    of an encoder (int8, 24 MB) a process had 393 MB, and 245 MB with this; the first exchange takes it to 250 MB.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def give_back_memory() -> None:
    """Call it when a model was freed.

    The library keeps what is freed for the thread that took it, and each release is loaded by a thread of its own.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
