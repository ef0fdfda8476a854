"""A row of the task `generate`: one choice. What it generates is told as text."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET

from ....schemas.generation import Token, TokenLogprobs
from ...runtime.generated_row import GeneratedRow, Generation
from ...runtime.model import Last, More
from .growing_text import GrowingText
from .text_chooser import TextChooser


class TextRow(GeneratedRow):
    """Its pieces are `Token`. It ends at a stop string, too. The lane calls it for each token."""

    __slots__ = ("choice", "ended_by", "logprobs", "text", "told")

    def __init__(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        ends: Collection[int],
        text: GrowingText,
        choice: int = 0,
        chooser: TextChooser | None = None,
    ) -> None:
        super().__init__(prompt, max_tokens, ends, chooser)
        self.choice = choice
        self.text = text
        self.told = 0
        self.logprobs: Mapping[int, TokenLogprobs] = chooser.logprobs if chooser is not None else {}
        self.ended_by: Literal["end", "stop", "length"] = "length"

    def take(self, token: int, room: int) -> Any:
        """See `GeneratedRow.take`. Raises nothing: other rows of the step have gone on already."""
        text = self.text
        result = super().take(token, room)
        if len(self.generated) > len(text.added):
            text.add(self.generated[-1])
        if isinstance(result, More) and not text.stopped:
            return More(self._pieces())
        text.finish()
        ended = isinstance(result, Last) and result.output.ended
        self.ended_by = "end" if ended else "stop" if text.stopped else "length"
        return Last(Generation(self.generated, ended), self._pieces())

    def _pieces(self) -> list[Token]:
        """The tokens that are settled and were told neither before nor by an earlier worker."""
        begin = max(self.told, len(self.forced))
        self.told = self.text.settled
        return [
            Token(
                self.generated[index],
                self.text.added[index],
                self.choice,
                self.logprobs.get(index, UNSET),
            )
            for index in range(begin, self.told)
        ]
