"""What the engine needs of a model on a device: it runs one step for some rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

RUN: Final = "run"
"""The only phase of a model that takes one step."""


class Row:
    """One row of a request, as its next step needs it. A task's rows may have further fields.

    A step reads ``tokens``. The scheduler reads ``phase`` and ``length``: rows of one phase run
    together, padded to the longest of them. ``steps_left`` is the number of steps after the next one, the
    highest that is possible if it is not known; ``phase_left`` of them are of the phase of the next step, if
    the model has a later phase. ``state`` belongs to the model: what it keeps on the device between two steps.

    A row whose output is generated inside of one step has in ``given`` how many tokens of it are known
    already, and the step sets ``made``, how many it has generated. In other rows ``given`` is None.

    A step that did not have to compute all of a row's ``length`` sets ``skipped``, how much of it; ``kept`` tokens
    were there already, of an earlier row that begins the same, whatever ``length`` is. ``tenant`` is
    whose request it is; the engine sets it before the first step.
    """

    __slots__ = (
        "given",
        "kept",
        "length",
        "made",
        "phase",
        "phase_left",
        "skipped",
        "state",
        "steps_left",
        "tenant",
        "tokens",
    )

    def __init__(self, tokens: Sequence[int], phase: str = RUN, steps_left: float = 0.0) -> None:
        self.tokens = tokens
        self.length = len(tokens)
        self.phase = phase
        self.steps_left = steps_left
        self.phase_left = 0.0
        self.given: int | None = None
        self.made = 0
        self.skipped = 0
        self.kept = 0
        self.tenant = ""
        self.state: Any = None

    def fit(self, others: int) -> None:
        """Make the next step shorter if that is useful: ``others`` rows of other phases wait for it on the lane.

        Called before each step of a row that takes several. May change ``tokens``, ``length``, and what is left.
        """


class More(NamedTuple):
    """The result of a step after which the row takes another one.

    ``pieces``: the parts of the answer that this step made, in the order of the answer.
    """

    pieces: Sequence[Any] = ()


class Last(NamedTuple):
    """The result of a row's last step that also made pieces. An output alone means no pieces."""

    output: Any
    pieces: Sequence[Any]


class Model(Protocol):
    """A network on a device. Several lanes may call it at once, each for rows of its own.

    There is one for each kind of network, not one for each task: an encoder serves all tasks whose
    rows it reads.
    """

    phases: Sequence[str]
    """The phases of its rows. Costs and limits are kept for each."""

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """Run the device once, for rows of one phase.

        Returns, for each row, its output, or `Last`; or `More`, after the row was changed to what its
        next step needs. Raises DeviceError, DeviceOutOfMemory, DeviceUnavailable or DeviceLost; the rows are then
        as they were, and may be given again in smaller batches.
        """
        ...

    def drop(self, rows: Sequence[Row]) -> None:
        """Free what these rows keep on the device: they take no further step. Called from any thread."""
        ...


@runtime_checkable
class HasExamples(Protocol):
    """A model whose costs cannot be measured with rows of any tokens."""

    def examples(self, count: int, length: int) -> Sequence[Row]:
        """``count`` rows like those of requests, with about ``length`` tokens each, read and generated ones.

        Equal arguments give equal rows.
        """
        ...


Measure = Callable[[str, int, int, Callable[[], object]], None]
"""Calls a run of a phase with a number of rows of one length, once or several times, and measures it."""


@runtime_checkable
class HasMemory(Protocol):
    """A model with memory for the rows of each lane, which is taken at the start."""

    @property
    def rows(self) -> int:
        """How many rows a lane may have between the begin of their first step and the end of their last one."""
        ...

    @property
    def most_rows(self) -> Mapping[str, int]:
        """How many rows a step of a phase may have. Without an entry the settings alone decide."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What it has taken, beside the weights."""
        ...

    def reserve(self, lanes: int) -> None:
        """Take the memory of this number of lanes. Before the first step."""
        ...

    def leave(self) -> None:
        """This thread takes no further step for now: its memory is free for the thread of a lane."""
        ...

    def warm_up(self, measure: Measure) -> None:
        """Run the steps of all sizes, each by ``measure``. Before the first step."""
        ...
