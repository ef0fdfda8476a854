"""What all ways of answering triage share: the options, and tickets as windows of tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ....schemas.messages import TriageOptions
from ...errors import BlankText, WrongType
from ..base import Ask
from ..options import checked_options
from ..pooling import Tokenizes
from ..text import NOTHING_TO_READ, TextTask

NONE: Final = "none"
DEFAULTS: Final = TriageOptions()
DECISIVE: Final = ("category", "priority", "route", "needs_human")
"""What is done with a ticket. Confidences differ between any two models."""


class ReadTicket(NamedTuple):
    """A ticket as the model reads it."""

    windows: Sequence[Sequence[int]]
    unreadable: bool  # for the most part


class TicketTask(TextTask):
    """The part of `tasks/base.Task` that does not depend on what classifies the tickets."""

    name = "triage"
    labels: Sequence[str] = ()
    """The categories that it may answer."""

    def __init__(self, model: str, tokenizer: Tokenizes, clean: str = NONE) -> None:
        """``model``: the name that it is served under; ``clean`` is for requests that do not say it."""
        self.model = model
        self._tokenizer = tokenizer
        self._clean = clean

    def options(self, given: Mapping[str, Any]) -> TriageOptions:
        """The checked options. Raises UnknownOption or WrongType."""
        if not given:
            return DEFAULTS
        options = checked_options(self.name, given, TriageOptions)
        if options.threshold is not None and not 0 <= options.threshold <= 1:
            raise WrongType(f"The option 'threshold' must lie between 0 and 1, not {options.threshold}.")
        if options.runners_up < 0:
            raise WrongType(f"The option 'runners_up' must be 0 or more, not {options.runners_up}.")
        return options

    def agrees(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether the same is done with the ticket, see `tasks/base.agree`."""
        return all(one[name] == other[name] for name in DECISIVE)

    def read_tickets(self, asks: Sequence[Ask], max_tokens: int | None) -> list[ReadTicket]:
        """The windows of each text, see `runtime/tokenizer`. Raises BlankText or TooLarge."""
        texts = [self._cleaned(ask.content, ask.options.clean or self._clean) for ask in asks]
        encoded = self._tokenizer.encode(texts, max_tokens)
        return [self._read(text, windows) for text, windows in zip(texts, encoded, strict=True)]

    def _cleaned(self, text: str, kind: str) -> str:
        if kind == NONE:
            return text
        from ..mail.cleaning import cleaned  # lxml is loaded only where it is asked for

        return cleaned(text, kind)

    def _read(self, text: str, windows: Sequence[Sequence[int]]) -> ReadTicket:
        reading = self._tokenizer.reading(text, windows)
        if reading == "nothing":
            raise BlankText(NOTHING_TO_READ)
        return ReadTicket(windows, reading != "most")
