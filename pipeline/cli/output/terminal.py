"""Text and progress for a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error if that is a terminal. Call what it yields with (done, total)."""
    columns = (TextColumn(description), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def printable(text: str) -> str:
    """``text`` with control characters escaped: text from a record must not send commands to the terminal."""
    return text if text.isprintable() else ascii(text)


def local_time(unix_ms: int) -> str:
    """Unix time in milliseconds as local time, to the second."""
    try:
        return datetime.fromtimestamp(unix_ms / 1e3).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return str(unix_ms)
