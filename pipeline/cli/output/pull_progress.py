"""Progress of `inferstream models pull`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from ...models.progress import Progress as Report


@contextmanager
def pull_progress() -> "Iterator[Report]":
    """A bar for each file and a line for each other step, on standard error.

    Without a terminal, a line with name and size replaces the bar.
    """
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=console, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}

    def report(step: str, done: int, total: int | None) -> None:
        if total is None:
            console.print(step)
        elif step in tasks:
            bars.update(tasks[step], completed=done)
        else:
            bars.start()
            tasks[step] = bars.add_task(step, total=total, completed=done)
            if not console.is_terminal:
                console.print(f"fetching {step} ({total / 1e6:.1f} MB)")

    try:
        yield report
    finally:
        if tasks:
            bars.stop()
