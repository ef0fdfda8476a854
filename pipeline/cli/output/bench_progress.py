"""The line that `inferstream bench` shows: what is measured, and how long the run still takes."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

ESTIMATE_S = 90.0
"""The rest is estimated from this long a past: turns differ, whole rounds do not."""


class BenchProgress:
    """See `Progress` in `lab.bench.bench`. Shows nothing where ``console`` is no terminal."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=ESTIMATE_S,
        )
        self._task = self._bar.add_task("starting Kafka", total=None)
        self._begun = False

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def begin(self, turns: int) -> None:
        self._bar.update(self._task, total=turns)

    def turn(self, what: str) -> None:
        self._bar.update(self._task, description=what, advance=1 if self._begun else 0)
        self._begun = True
