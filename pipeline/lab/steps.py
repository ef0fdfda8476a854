"""The task `steps`: its answer is its text, one character a step. For tests of everything that has many steps."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from ...schemas.contract import Contract
from ..errors import UnknownOption
from ..runtime.graph import Graph
from ..runtime.model import Last, More, Row
from ..tasks.base import Ask, Finished
from ..tasks.text import TextTask

START: Final = "start"
STEP: Final = "step"


class StepsOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a request.

    Attributes:
        repeat: how many times the text is answered.
        unsure: the answer may vary: it is neither cached nor shared.
    """

    repeat: int = 1
    unsure: bool = False


class StepsOutput(Struct, frozen=True):
    """The text, and the number of steps that it took."""

    text: str
    steps: int


CONTRACT: Final = Contract(StepsOptions, StepsOutput, piece=str, pieces=lambda output: list(output.text))


class StepsRow(Row):
    """A text. ``told``: its first characters, of which the steps make no pieces."""

    __slots__ = ("told",)

    def __init__(self, text: str, told: int = 0) -> None:
        super().__init__([ord(character) for character in text], START, float(len(text)))
        self.told = told


class StepsModel:
    """Reads a row in the phase `start`, then makes one character a step.

    A row's state is the position of its next character. ``running`` are the rows that have a state.
    """

    phases: Sequence[str] = (START, STEP)

    def __init__(self, graph: Graph) -> None:
        """``graph`` runs each step: the code points that the step makes, one for each row."""
        self._graph = graph
        self.running: set[Row] = set()

    def step(self, rows: Sequence[Row]) -> Sequence[Any]:
        """See `Model.step`."""
        if rows[0].phase == START:
            self._graph.run({"input_ids": np.zeros((len(rows), max(row.length for row in rows)), np.int64)})
            return [self._begin(row) for row in rows]
        ids = np.array([[row.tokens[row.state]] for row in rows], np.int64)
        (made,) = self._graph.run({"input_ids": ids})
        return [self._go_on(row, chr(int(code))) for row, (code,) in zip(rows, made, strict=True)]

    def drop(self, rows: Sequence[Row]) -> None:
        """See `Model.drop`."""
        self.running.difference_update(rows)

    def _begin(self, row: Row) -> More:
        row.state = 0
        row.phase = STEP
        row.length = 1
        row.steps_left = len(row.tokens) - 1.0
        self.running.add(row)
        return More()

    def _go_on(self, row: Row, character: str) -> More | Last:
        row.state += 1
        row.steps_left -= 1.0
        was_told = isinstance(row, StepsRow) and row.state <= row.told
        pieces = [] if was_told else [character]
        if row.state < len(row.tokens):
            return More(pieces)
        self.running.discard(row)
        return Last(row.state, pieces)


class Steps(TextTask):
    """The task of a `StepsModel`. A text of more than ``max_characters`` becomes several rows."""

    name = "steps"
    version = "steps-1"
    digest = b"steps"
    resumes = True

    def __init__(self, model: str = "steps", max_characters: int = 10_000) -> None:
        self.model = model
        self._max_characters = max_characters

    def options(self, given: Mapping[str, Any]) -> StepsOptions:
        """The checked options. Raises UnknownOption."""
        try:
            return msgspec.convert(dict(given), StepsOptions)
        except msgspec.ValidationError as error:
            raise UnknownOption(f"{error}: leave it out.") from error

    def repeats(self, options: StepsOptions) -> bool:
        """Whether the caller did not say otherwise."""
        return not options.unsure

    def further_steps(self, ask: Ask) -> float:
        """One for each character."""
        return float(len(ask.content) * ask.options.repeat)

    def prepare(self, asks: Sequence[Ask], max_tokens: int | None = None) -> list[list[Row]]:
        """The code points of each text, in rows."""
        return [self._rows(ask.content * ask.options.repeat, len(ask.told)) for ask in asks]

    def tell(self, pieces: Sequence[Any], start: int) -> bytes:
        """The characters from ``start`` on."""
        return msgspec.json.encode(pieces[start:])

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of a StepsOutput for each request."""
        return [msgspec.json.encode(StepsOutput("".join(one.pieces), sum(one.outputs))) for one in finished]

    def _rows(self, text: str, told: int) -> list[Row]:
        size = self._max_characters
        starts = range(0, len(text), size)
        return [StepsRow(text[start : start + size], max(0, told - start)) for start in starts]
