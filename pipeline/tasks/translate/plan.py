"""The plan of one translation: its sentences, those that need the device, and what is shown already."""

from collections.abc import Sequence

from ...runtime.translator import SourceRow
from .prefixes import Forced
from .reading import ReadSentence


class PlannedSentence:
    """A sentence of a plan.

    Attributes:
        has_row: the model translates it; else ``shown`` or the sentence itself is the answer. Not the row: that has
            the plan, and only the garbage collector frees what refers to itself.
        shown: the whole answer that is shown already, or what the answer begins with.
        goes_on: the prefix goes on in the next sentence.
        forced: what of ``shown`` the model begins with.
        stopped: the prefix is longer than a translation may be.
    """

    __slots__ = ("forced", "goes_on", "has_row", "read", "shown", "stopped")

    def __init__(self, read: ReadSentence) -> None:
        self.read = read
        self.has_row = False
        self.shown: str | None = None
        self.goes_on = False
        self.forced: Forced | None = None
        self.stopped = False


class Plan:
    """The sentences of a text, in order; their answers join to its translation."""

    __slots__ = ("sentences",)

    def __init__(self, sentences: Sequence[PlannedSentence]) -> None:
        self.sentences = sentences


class PlannedRow(SourceRow):
    """A row with the plan that it belongs to."""

    __slots__ = ("plan",)

    def __init__(self, tokens: Sequence[int], prefix: Sequence[int] = ()) -> None:
        super().__init__(tokens, prefix)
        self.plan: Plan | None = None
