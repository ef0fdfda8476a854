"""How far a program has read an answer in pieces, so that workers make no more than is read."""

from collections.abc import Callable
from typing import Final

from ...schemas.messages import Chunk

STEP: Final = 128
"""Pieces after which it is said how far the program is: a worker pauses an answer at 512 that were not read."""

ALL: Final = 2**53 - 1
"""As many pieces as no answer has."""


def _nothing() -> None:
    """No lease tells the workers how far the program is: the answer is made as fast as it can be."""


class Reading:
    """The reading of one answer. Lives on the event loop of its client.

    Attributes:
        add: gets the chunks of the answer, also those that come again.
        pieces: how many the program has taken.
        moved: is called when the workers should know how far it is.
    """

    def __init__(self, add: Callable[[Chunk], None]) -> None:
        self.add = add
        self.pieces = 0
        self.moved: Callable[[], None] = _nothing
        self._said: int | None = None

    def took(self) -> None:
        """The program has taken one piece more."""
        self.pieces += 1
        if self.pieces - (self._said or 0) >= STEP:
            self.moved()

    def took_all(self) -> None:
        """The program wants the whole answer: nothing waits for it to read pieces."""
        if self.pieces < ALL:
            self.pieces = ALL
            self.moved()

    def came(self, pieces: int) -> None:
        """``pieces`` have come, read or not."""
        if self._said is None and pieces >= STEP:
            self.moved()

    @property
    def is_said(self) -> bool:
        """Whether the workers were told how far it is."""
        return self._said == self.pieces

    def say(self) -> int:
        """How far it is, which is told now."""
        self._said = self.pieces
        return self.pieces
