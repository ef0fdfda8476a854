"""What callers and the reply topic have seen of the conversations of a run."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct, field

from ....schemas.generation import GenerateOutput, Token, tokens_of
from ..statistics import percentile
from .equal_answers import Made
from .left_requests import LeftRequests
from .left_streams import LeftStream


class ConversationCounts(Struct):
    """What was seen of the turns of all conversations.

    Attributes:
        turns: answers that were asked for.
        whole: of these, answers that were read to their end, with the right tokens.
        lost: of these, without any end.
        doubled: answers with more tokens shown than they have.
        torn: answers with fewer or other tokens shown, or whose joined text is not the answer's.
        failed: answers that ended with an error, by its code.
        compared: answers, whole or left, that were compared with one to an equal request before.
        unequal: of these, with another text; some of them are ``examples``.
        chunks: parts of answers on the topic.
        changed: of these, with another token than was told in its place before, or behind a gap; and answers on the
            topic with other tokens than their parts.
        misordered: requests with a reply before the end of an earlier request of their conversation.
        left: streams that were left by their caller, and have ended.
        open: those that have not ended.
        killed_s: of each request that was open when the process of its caller was killed: how long after it ended.
        killed_cancelled: requests of such callers that ended as cancelled.
        killed_open: those that did not end within a time.
        firsts: of each answer of which a token was shown: when it was asked for, and how many seconds later.
    """

    turns: int = 0
    whole: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    unequal: int = 0
    examples: list[tuple[Made, Made]] = field(default_factory=list)
    chunks: int = 0
    changed: int = 0
    misordered: int = 0
    left: list[LeftStream] = field(default_factory=list)
    open: int = 0
    killed_s: list[float] = field(default_factory=list)
    killed_cancelled: int = 0
    killed_open: int = 0
    firsts: list[tuple[float, float]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether each answer was shown once, in order, as an equal one before, and what was left has ended."""
        seen = self.lost, self.doubled, self.torn, self.unequal
        return not any((*seen, self.changed, self.misordered, self.open, self.killed_open))

    def ended(self, shown: Sequence[Token], output: GenerateOutput) -> None:
        """Add an answer whose end was read, behind these tokens."""
        tokens = tokens_of(output)
        if len(shown) > len(tokens):
            self.doubled += 1
        elif list(shown) != tokens or "".join(token.text for token in shown) != output.text:
            self.torn += 1
        else:
            self.whole += 1

    def killed(self, requests: LeftRequests) -> None:
        """Add the requests of a process that was killed."""
        self.killed_s += requests.ended_after_s
        self.killed_cancelled += requests.cancelled
        self.killed_open += requests.open

    def figures(self, warm_s: float, calm_s: float) -> dict[str, float | None]:
        """The figures by name. Times of the calm count from ``warm_s``."""
        calm = [lag_s for at_s, lag_s in self.firsts if warm_s <= at_s < calm_s]
        storm = [lag_s for at_s, lag_s in self.firsts if at_s >= calm_s]
        left_s = [one.ended_after_s for one in self.left]
        return {
            "turns": self.turns,
            "turns_whole": self.whole,
            "turns_lost": self.lost,
            "turns_doubled": self.doubled,
            "turns_torn": self.torn,
            "turns_failed": self.failed.total(),
            "turns_compared": self.compared,
            "turns_unequal": self.unequal,
            "turns_changed": self.changed,
            "turns_misordered": self.misordered,
            "turns_left": len(self.left) + self.open,
            "turns_left_open": self.open,
            "turns_left_p50_s": percentile(left_s, 50) if left_s else None,
            "turns_left_max_s": max(left_s, default=None),
            "turns_killed": len(self.killed_s) + self.killed_open,
            "turns_killed_cancelled": self.killed_cancelled,
            "turns_killed_open": self.killed_open,
            "turns_killed_max_s": max(self.killed_s, default=None),
            **{
                f"turns_{name}_p{percent}_ms": percentile(lags, percent) * 1e3 if lags else None
                for name, lags in (("calm", calm), ("storm", storm))
                for percent in (50, 99)
            },
        }
