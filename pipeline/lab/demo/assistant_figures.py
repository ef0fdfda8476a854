"""The figures of conversations: tokens, the time to the first one, what was read before."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple, Self

from .shown_conversations import ShownTurn


class AssistantFigures(NamedTuple):
    """Sums over the turns until now.

    Attributes:
        tokens: those that were shown.
        seconds: from the beginning until the last of them.
        first_s: of each turn, from its question to the first token.
        longest_pause_s: between two tokens of one answer.
        prompt_tokens: of the turns that are complete.
        cached_tokens: those of them that a worker had read before, and did not compute.
        hits: turns with such tokens.
    """

    tokens: int
    seconds: float
    first_s: tuple[float, ...]
    longest_pause_s: float
    prompt_tokens: int
    cached_tokens: int
    turns: int
    hits: int

    @classmethod
    def of(cls, turns: Sequence[ShownTurn], began: float) -> Self:
        usages = [turn.usage for turn in turns if turn.usage is not None]
        return cls(
            tokens=sum(turn.tokens for turn in turns),
            seconds=max((turn.last - began for turn in turns if turn.last is not None), default=0.0),
            first_s=tuple(turn.first_s for turn in turns if turn.first_s is not None),
            longest_pause_s=max((turn.longest_pause_s for turn in turns), default=0.0),
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            cached_tokens=sum(usage.cached_tokens for usage in usages),
            turns=len(usages),
            hits=sum(usage.cached_tokens > 0 for usage in usages),
        )

    @property
    def tokens_a_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def first_median_s(self) -> float:
        return median(self.first_s) if self.first_s else 0.0

    @property
    def first_worst_s(self) -> float:
        return max(self.first_s, default=0.0)

    @property
    def cached_share(self) -> float:
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0
