"""What the steps of a model return, checked: a defect fails its requests, not the worker and all others."""

from collections.abc import Container
from typing import Any, Final

from ..errors import DeviceError
from ..runtime.model import Last, More, Row

MAX_STEPS: Final = 262_144
"""Steps of one row: as many as the longest contexts of language models have tokens. A row that takes more would
take them for ever, since a request may have no deadline."""


def number_of_steps(guess: float) -> float:
    """A prediction of a task or a model as a number that can be reckoned with; one that is none counts as 0."""
    return min(max(0.0, guess), MAX_STEPS)


def row_defect(row: Row, phases: Container[str]) -> str | None:
    """Why the row cannot take its next step; None if it can."""
    try:
        if row.phase not in phases:
            return f"has the phase {row.phase!r}, which its model lacks"
        if not row.length > 0:
            return f"has the length {row.length!r}, and must have 1 at least"
        float(row.steps_left)
        float(row.phase_left)
        float(row.given or 0)
    except (AttributeError, TypeError, ValueError) as error:
        return f"cannot be read: {error!r}"
    return None


def step_defect(row: Row, result: Any, steps: int, phases: Container[str]) -> DeviceError | None:
    """The error of a row that had its step number ``steps`` with this result; None if all is well."""
    defect = None
    if isinstance(result, More | Last):
        try:
            len(result.pieces)
        except TypeError:
            defect = f"has the pieces {result.pieces!r:.100}, which are no list"
    if defect is None and isinstance(result, More):
        defect = row_defect(row, phases) if steps < MAX_STEPS else f"has not ended after {steps} steps"
    return DeviceError(f"The model has a defect: after a step, a row {defect}.") if defect else None


def goes_on(results: Any) -> bool:
    """Whether any of these rows takes another step. ``results`` may be anything, see `check_count`."""
    return isinstance(results, list | tuple) and any(isinstance(result, More) for result in results)


def check_count(rows: int, results: Any) -> None:
    """Raise DeviceError unless a step has given one result for each row."""
    try:
        count = len(results)
    except TypeError:
        count = 0
    if count != rows:
        raise DeviceError(f"The model returned {count} results of a step for {rows} rows.")
