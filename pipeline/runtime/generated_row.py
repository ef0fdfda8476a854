"""The rows of a generator: a prompt that is read in chunks, then one token a step."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .model import Last, More, Row

PREFILL: Final = "prefill"
DECODE: Final = "decode"
CHUNK: Final = 64
"""Tokens of a prompt in one step."""

SHORT_CHUNK: Final = 32
"""The same while other rows wait for it: it takes as long as 2 or 3 steps of 8 rows."""

LONGER: Final = 1.25
"""What is left of a prompt is read in one step up to this multiple of a chunk: the weights are read once more for a
chunk of a few tokens, too."""


class TokenChooser(Protocol):
    """Chooses the next token of one row, for example by its temperature."""

    def choose(self, scores: NDArray[np.float32], generated: Sequence[int]) -> int:
        """The next token. ``scores``: of all tokens, valid in this call; ``generated``: the tokens behind the prompt.

        Called on the thread of the lane; again for the same place after a step that failed, and not for places
        where a token was forced. An InferstreamError that it raises ends its own row only.
        """
        ...


class Generation(NamedTuple):
    """What was generated, without the end token. ``ended``: the model ended it, and no limit did."""

    tokens: list[int]
    ended: bool


class GeneratedRow(Row):
    """One text to go on with. Each generated token is a piece; the output is a `Generation`.

    ``cached`` counts the tokens of the prompt that were not computed: their keys and values were kept (`prefixes.py`).
    """

    __slots__ = ("cached", "chooser", "chunk", "ends", "forced", "generated", "max_tokens", "prompt", "read")

    def __init__(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        ends: Collection[int] = (),
        chooser: TokenChooser | None = None,
        forced: Sequence[int] = (),
    ) -> None:
        """``prompt``: at least one token. ``max_tokens``: to generate, at least one.

        Args:
            ends: the tokens that end the text.
            chooser: without one, the token with the highest score is next.
            forced: how the generated text begins, told before and kept: the same steps are taken for it, so that
                what follows is the same to the bit; no pieces are made of it.
        """
        super().__init__(prompt, PREFILL)
        self.prompt = prompt
        self.max_tokens = max_tokens
        self.ends = ends
        self.chooser = chooser
        self.forced = forced
        self.chunk = CHUNK
        self.generated: list[int] = []
        self.read = 0
        self.cached = 0
        self.next_chunk()

    def next_chunk(self) -> None:
        """Make the tokens of the next step the next chunk of the prompt."""
        self.tokens = self.prompt[self.read : self.read + self.chunk]
        self.length = len(self.tokens)
        self.phase_left = float(-(-(len(self.prompt) - self.read) // self.chunk) - 1)
        self.steps_left = self.phase_left + self.max_tokens - 1

    def fit(self, others: int) -> None:
        """Make the next chunk of the prompt a short one while ``others`` wait for it."""
        if self.phase == PREFILL:
            left = len(self.prompt) - self.read
            chunk = SHORT_CHUNK if others else CHUNK
            self.chunk = left if left <= LONGER * chunk else chunk
            self.next_chunk()

    @property
    def asks_scores(self) -> bool:
        """Whether its next token is not simply the best one."""
        return self.chooser is not None and len(self.generated) >= len(self.forced)

    def chosen(self, scores: NDArray[np.float32]) -> int:
        """The token that its chooser takes; only if it asks for scores."""
        assert self.chooser is not None
        return self.chooser.choose(scores, self.generated)

    def take(self, token: int, room: int) -> Any:
        """Go on with ``token``, or with a forced one; returns the result of the step.

        ``room``: how many tokens may still be computed.
        """
        forced = len(self.generated) < len(self.forced)
        if forced:
            token = self.forced[len(self.generated)]
        if token in self.ends:
            return Last(Generation(self.generated, ended=True), ())
        pieces = () if forced else (token,)
        self.generated.append(token)
        if len(self.generated) >= self.max_tokens or room < 1:
            return Last(Generation(self.generated, ended=False), pieces)
        self.tokens = (token,)
        self.length = 1
        self.phase = DECODE
        self.phase_left = 0.0
        self.steps_left = float(self.max_tokens - len(self.generated) - 1)
        return More(pieces)
