"""The type of a function that receives the progress of a long operation."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with (step, done, total): bytes of a download; the total is None for a step without a count."""
