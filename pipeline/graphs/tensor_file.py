"""A file beside a graph with its large arrays: no limit of 2 GB, and processes that load it share its pages."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 4096  # of a page


class TensorFile:
    """Arrays are appended while a graph is built, so that only one of them is in memory."""

    def __init__(self, part: Path) -> None:
        """``part``: written under this name; `finish` says the digest by which it is published."""
        self.part = part
        self._file = part.open("wb")
        self._hash = hashlib.sha256()
        self._place = 0

    def append(self, array: NDArray[Any]) -> tuple[int, int]:
        """Write the array; returns where it begins, and its bytes."""
        padding = -self._place % ALIGNMENT
        start = self._place + padding
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for part in (bytes(padding), content.data):
            self._file.write(part)
            self._hash.update(part)
        self._place = start + content.nbytes
        return start, content.nbytes

    def finish(self) -> str:
        """Close the file; returns the digest of all that was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()
