"""Tries a model before it answers requests: what it says of a few texts must be answers, and finite numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ...engine.made_by_tasks import checked_answers, checked_rows
from ...engine.model_entry import ModelEntry
from ...errors import InferstreamError
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
"""Of one row: a model that has not ended by then is sound as far as a trial goes."""


def check_answers(definition: TaskDefinition, entry: ModelEntry) -> None:
    """Raise BadRelease unless the model gives sound answers.

    It runs on this thread, not in the lanes: a model on a device that has memory for its lanes alone, and runs already,
    is not run again.
    """
    runs = entry.device.model
    if isinstance(runs, HasMemory) and entry.device.is_running:
        return
    for request in _requests(definition):
        try:
            answer = answer_alone(entry, runs, request)
            if answer is not None:
                msgspec.json.decode(answer, type=definition.contract.output)
        except Exception as error:  # the code of a task, and of a model, may raise anything
            told = str(error) if isinstance(error, InferstreamError | msgspec.MsgspecError) else repr(error)
            raise BadRelease(
                f"The model {entry.task.model} gives no sound answer to a text of its trial: {told[:300]}"
            ) from error


def answer_alone(entry: ModelEntry, model: Model, request: Any) -> bytes | None:
    """The answer to a request that shares no batch; None if it takes too many steps to wait for it."""
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
            if not _run(model, row, outputs, pieces):
                return None
    finally:
        model.drop(prepared)
    finished = task.finish([Finished(outputs, prepared, options, pieces)])
    return checked_answers(task.name, finished, 1)[0]


def _run(model: Model, row: Row, outputs: list[Any], pieces: list[Any]) -> bool:
    """All steps of a row. Returns whether it has ended."""
    for _ in range(MAX_STEPS):
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
