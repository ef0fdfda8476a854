"""The type of a function that receives the progress of a long operation."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with (step, done, total): bytes of a download; the total is None for a step without a count."""


def as_lines(progress: Progress) -> Callable[[str, int, int], None]:
    """A progress of bars that is told as lines: each step when it begins."""

    return lambda step, done, total: None if done else progress(step, 0, None)
