"""A file that hangs, as on a mount that is away: its opening does not return."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """Opening the file never returns before this ends; then what waits goes on."""
    kept = path.with_name("kept")
    path.rename(kept)
    os.mkfifo(path)
    try:
        yield
    finally:
        writer = os.open(path, os.O_RDWR)
        kept.replace(path)
        os.close(writer)
