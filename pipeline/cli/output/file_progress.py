"""Progress of `inferstream request --file`: a bar while it runs, and a summary at the end."""

import time
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ....schemas.messages import Failure, Result

REDRAW_LINES: Final = 50


class FileProgress:
    """A progress bar on standard error, and counts of the replies. Use it with ``with``.

    Args:
        name: the name of the input file.
        size_bytes: its size; None if unknown.
        lines_before: lines that an earlier run has answered.
    """

    def __init__(self, name: str, size_bytes: int | None, lines_before: int) -> None:
        self._lines_before = lines_before
        self._started = time.monotonic()
        self._answered = 0
        self._failed = 0
        self._cached = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[lines]} lines"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(name, total=size_bytes, lines=f"{lines_before:,}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the live bar, so that other lines can be printed."""
        self._bar.stop()

    def add(self, reply: Result | Failure, bytes_read: int) -> None:
        """Count the reply; ``bytes_read`` is the position in the input file."""
        if isinstance(reply, Failure):
            self._failed += 1
        else:
            self._answered += 1
            self._cached += reply.cache in {"memory", "disk", "flight"}
        if (self._answered + self._failed) % REDRAW_LINES == 0:
            self.redraw(bytes_read)

    def redraw(self, bytes_read: int) -> None:
        self._bar.update(self._task, completed=bytes_read, lines=f"{self.lines:,}")

    @property
    def lines(self) -> int:
        """Answered lines, including those of an earlier run."""
        return self._lines_before + self._answered + self._failed

    def summary(self) -> str:
        """One sentence: lines, seconds, lines per second, and the counts of this run."""
        lines = self._answered + self._failed
        seconds = max(time.monotonic() - self._started, 1e-9)
        counts = f"{self._answered:,} answered ({self._cached:,} without the model), {self._failed:,} failed"
        return f"{lines:,} lines in {seconds:,.1f} s, {lines / seconds:,.0f} a second: {counts}."
