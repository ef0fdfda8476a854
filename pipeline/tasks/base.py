"""The interface between the engine and a task: requests to rows, outputs of rows to answers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from ...schemas.messages import Request
from ..runtime.model import Row


class Ask(NamedTuple):
    """A request as its task reads it: ``content`` from `Task.read`, ``options`` from `Task.options`.

    ``told``: the first pieces of its answer, as `Contract.piece`, which an earlier worker has told. Only a task
    that `resumes` gets any. Its answer begins with them, and its steps make no pieces of them.
    ``id``: of the request, the same when it is delivered again. It may decide an answer that `repeats` not.
    ``tenant``: whose request it is. It may decide the answer: tenants share no cached ones.
    """

    content: Any
    options: Any
    told: Sequence[Any] = ()
    id: str = ""
    tenant: str = ""


Prepared = Sequence[Row] | bytes
"""The rows of a request; or its answer as JSON, if no model is needed for it."""


class Finished(NamedTuple):
    """What a model made of all rows of one request: the output of each row, in order.

    ``rows`` are those that `Task.prepare` made. ``pieces`` are those that were told before (`Ask.told`), and
    behind them all that the steps have brought, in the order of the rows.
    """

    outputs: Sequence[Any]
    rows: Sequence[Row]
    options: Any
    pieces: Sequence[Any] = ()


class Task(Protocol):
    """A task with its model, and without the device. Several threads call it.

    It keeps no state between calls that makes an answer wrong. A task may have a method ``figures()``, the
    `telemetry.TaskFigure` of what it counts.
    """

    name: str
    """The name of the task in topic names."""
    model: str
    """The name that selects this model in the model header of a request."""
    version: str
    """Changes whenever the answer to the same input may change."""
    digest: bytes
    """Digest of all that decides an answer besides the request: weights, graph, tokenizer, taxonomy or head."""
    chosen_by: Mapping[str, str]
    """Options that choose this model among those of the task, as {"source": "en"}; mostly none.

    A request that names no model, and has some of these options, is answered by the first model with these values.
    """

    def options(self, given: Mapping[str, Any]) -> Any:
        """The checked options. Raises UnknownOption or WrongType."""
        ...

    def repeats(self, options: Any) -> bool:
        """Whether an equal request has an equal answer, so that it may be cached and shared."""
        ...

    def read(self, request: Request) -> Any:
        """What of the request, besides its options, decides its answer, in normal form.

        A string, or what msgspec encodes. Runs on the event loop, so in time linear in its size. Raises a
        BadRequest.
        """
        ...

    def further_steps(self, ask: Ask) -> float:
        """The expected steps of this request after the first one; 0 for a model that takes one step."""
        ...

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> Sequence[Prepared]:
        """The rows of each request, at least one; or its answer, if that needs no model. Runs in the preparing thread.

        A text that is too long for the model becomes several overlapping rows; no token is lost. Raises
        BlankText for a text in which there is nothing to read; the caller then prepares each request
        alone. Of a request whose rows have more than ``max_tokens``, the rest need not be prepared: TooLarge
        may be raised instead.
        """
        ...

    def tell(self, pieces: Sequence[Any], start: int) -> bytes | None:
        """The JSON of a list with the pieces from ``start`` on, for a chunk; None to tell nothing yet.

        ``pieces`` are those that are known so far, or the first of them. Each becomes one piece of the
        list, the one that `Contract.pieces` makes of the whole answer. Runs on the event loop.
        """
        ...

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The output of each request, as JSON."""
        ...


def resumes(task: Task) -> bool:
    """Whether the task goes on behind pieces that were told before (`Ask.told`): if it has ``resumes = True``.

    Its answers in pieces then survive the death of a worker, and are handed over when a worker stops.
    """
    return bool(getattr(task, "resumes", False))


def known_rows(task: Task, ask: Ask) -> int | None:
    """How many rows the request will have, if the task knows before it prepares them: by its ``rows_of(ask)``.

    None: it depends on the length of the content.
    """
    rows_of = getattr(task, "rows_of", None)
    return None if rows_of is None else max(1, int(rows_of(ask)))


def agree(task: Task, one: bytes, other: bytes) -> bool:
    """Whether two answers to one request, both JSON, say the same: by the ``agrees(one, other)`` of the task.

    That gets what the JSON holds. Answers of a task without it must be equal.
    """
    if one == other:
        return True
    agrees = getattr(task, "agrees", None)
    first, second = msgspec.json.decode(one), msgspec.json.decode(other)
    return bool(first == second if agrees is None else agrees(first, second))


def is_right(answer: bytes, label: Mapping[str, Any]) -> bool:
    """Whether an answer has all values of the label, as {"category": "billing"}."""
    output = msgspec.json.decode(answer)
    return isinstance(output, dict) and all(
        name in output and output[name] == value for name, value in label.items()
    )
