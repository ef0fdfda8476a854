"""Checks what a task makes of requests, so that a fault in its code fails its own requests and ends no worker."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import msgspec

from ..errors import DeviceError, InferstreamError
from ..runtime.model import Row
from ..tasks.base import Prepared

MAX_REASON: Final = 200

_whole_json: Final[Callable[[Any], Any]] = msgspec.json.Decoder(msgspec.Raw).decode


def fault(task: str, what: str, error: BaseException | None = None) -> InferstreamError:
    """The error for the requests of a task whose code is wrong: ``what`` it did. An error of ours stays as it is."""
    if isinstance(error, InferstreamError):
        return error
    reason = "" if error is None else f" ({reason_of(error)})"
    return DeviceError(f"The task {task!r} {what}{reason}.")


def reason_of(error: BaseException) -> str:
    """The error's class and text on one line, shortened."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:MAX_REASON]}" if text else type(error).__name__


def checked_rows(task: str, prepared: Any, count: int, phases: Collection[str]) -> Sequence[Prepared]:
    """What `Task.prepare` made of ``count`` requests. Raises DeviceError that says what is wrong."""
    if not isinstance(prepared, list | tuple) or len(prepared) != count:
        raise fault(task, f"prepared {_amount(prepared)} for {count} of its requests")
    return [
        _checked_answer(task, made) if isinstance(made, bytes) else _checked(task, made, phases)
        for made in prepared
    ]


def _checked(task: str, rows: Any, phases: Collection[str]) -> Sequence[Row]:
    """The rows of one request."""
    if not isinstance(rows, list | tuple) or not rows:
        raise fault(task, f"prepared {_amount(rows)} as the rows of a request, which must be at least one")
    for row in rows:
        if not isinstance(row, Row) or row.length < 1:
            raise fault(task, "prepared a row that is no Row with at least one token")
        if not isinstance(row.given, int | None):
            raise fault(task, f"prepared a row with {row.given!r} as what is known of its output")
        for steps in (row.steps_left, row.phase_left):
            if not isinstance(steps, int | float):
                raise fault(task, f"prepared a row with {steps!r} as its number of steps")
        if row.phase not in phases:
            known = ", ".join(phases)
            raise fault(task, f"prepared a row of the phase {row.phase!r}; its model has: {known}")
    return rows


def checked_answers(task: str, answers: Any, count: int) -> Sequence[bytes]:
    """The answers that `Task.finish` made of ``count`` requests. Raises DeviceError that says what is wrong."""
    if not isinstance(answers, list | tuple) or len(answers) != count:
        raise fault(task, f"made {_amount(answers)} of the outputs of {count} of its requests")
    return [_checked_answer(task, answer) for answer in answers]


def _checked_answer(task: str, answer: Any) -> bytes:
    """The answer, on one line: a file of replies has one on each line."""
    if not isinstance(answer, bytes):
        raise fault(task, f"made an answer of the type {type(answer).__name__}, which must be JSON in bytes")
    try:
        _whole_json(answer)
        if not answer.isascii():
            answer.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise fault(task, "made an answer that is not JSON", error) from error
    return msgspec.json.format(answer, indent=-1) if b"\n" in answer else answer


def _amount(made: Any) -> str:
    return f"{len(made)} results" if isinstance(made, list | tuple) else f"a {type(made).__name__}"
