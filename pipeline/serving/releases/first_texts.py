"""Tries a model before it answers requests: what it says of a few texts must be answers, and finite numbers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from functools import partial
from typing import Any, Final

import msgspec

from ...daemon_thread import in_daemon_thread
from ...engine.made_by_tasks import checked_answers, checked_rows
from ...engine.model_entry import ModelEntry
from ...engine.run_limit import TICK_S, RunLimit
from ...errors import DeviceLost, InferstreamError
from ...models.releases.faults import BadRelease
from ...runtime.model import HasMemory, Last, Model, More, Row
from ...tasks.base import Ask, Finished
from ...tasks.definition import TaskDefinition

TEXTS: Final = (
    "I was charged twice for the same order.",
    "Where is my parcel? It should have been here on Monday, and nobody answers the phone.",
    "Thank you!",
    "The app closes each time I open the settings, since the update to 4.2 of last night on my old tablet. "
    * 12,
    "Please cancel my subscription, and send the invoice of March to accounts@example.org. Order 4711-0815.",
    "Não consigo entrar na minha conta: a senha não funciona.",
)
"""Short and long ones; the longest has more tokens than one window of a small encoder."""

MAX_STEPS: Final = 64
"""Of one row: a model that has not ended by then is sound as far as this goes."""


def check_answers(definition: TaskDefinition, entry: ModelEntry, run_timeout_s: float) -> None:
    """Raise BadRelease unless the model gives sound answers, each run within the time that a run of the engine has.

    It does not run in the lanes: a model on a device that has memory for its lanes alone, and runs already,
    is not run again.
    """
    runs = entry.device.model
    if isinstance(runs, HasMemory) and entry.device.is_running:
        return
    limit = RunLimit(1, run_timeout_s)
    trying = in_daemon_thread(partial(_try_requests, definition, entry, limit), "first-texts")
    while not wait([trying], TICK_S).done:
        try:
            limit.check()
        except DeviceLost as error:  # of this run only: those of the lanes have limits of their own
            raise BadRelease(
                f"The model {entry.task.model} has not answered one of its first texts in {run_timeout_s:g} s. If the "
                "device may take that long, raise `run_timeout_s`."
            ) from error
    try:
        trying.result()
    finally:
        del trying


def _try_requests(definition: TaskDefinition, entry: ModelEntry, limit: RunLimit) -> None:
    """Raise BadRelease for an answer that is not sound."""
    for request in _requests(definition):
        try:
            answer = answer_alone(entry, entry.device.model, request, partial(limit.begin, 0, 1, 0, 0.0))
            if answer is not None:
                msgspec.json.decode(answer, type=definition.contract.output)
        except Exception as error:  # the code of a task, and of a model, may raise anything
            told = str(error) if isinstance(error, InferstreamError | msgspec.MsgspecError) else repr(error)
            raise BadRelease(
                f"The model {entry.task.model} gives no sound answer to one of its first texts: {told[:300]}"
            ) from error


def answer_alone(
    entry: ModelEntry, model: Model, request: Any, begin: Callable[[], None] = lambda: None
) -> bytes | None:
    """The answer to a request that shares no batch; None if it takes too many steps to wait for it.

    ``begin``: called before each step.
    """
    begin()
    task = entry.task
    options = task.options(request.options)
    ask = Ask(task.read(request), options)
    (prepared,) = checked_rows(task.name, task.prepare([ask]), 1, model.phases)
    if isinstance(prepared, bytes):
        return prepared
    outputs: list[Any] = []
    pieces: list[Any] = []
    try:
        for row in prepared:
            if not _run(model, row, outputs, pieces, begin):
                return None
    finally:
        model.drop(prepared)
        if isinstance(model, HasMemory):
            model.leave()
    finished = task.finish([Finished(outputs, prepared, options, pieces)])
    return checked_answers(task.name, finished, 1)[0]


def _run(model: Model, row: Row, outputs: list[Any], pieces: list[Any], begin: Callable[[], None]) -> bool:
    """All steps of a row. Returns whether it has ended."""
    for _ in range(MAX_STEPS):
        begin()
        (result,) = model.step([row])
        if isinstance(result, More | Last):
            pieces.extend(result.pieces)
        if not isinstance(result, More):
            outputs.append(result.output if isinstance(result, Last) else result)
            return True
    return False


def _requests(definition: TaskDefinition) -> Sequence[Any]:
    """Those of the task, its ``trial``; else texts. None for a task whose requests need more than a text."""
    asked: Sequence[Mapping[str, Any]] = getattr(definition, "trial", [{"text": text} for text in TEXTS])
    try:
        return [msgspec.convert(one, definition.contract.request) for one in asked]
    except msgspec.ValidationError:
        return ()
