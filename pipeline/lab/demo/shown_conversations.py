"""What the demo of an assistant shows: conversations and their turns until now. Times are seconds of one clock."""

from msgspec import Struct, field

from ....schemas.generation import Usage
from .conversations import AssistantTalk


class ShownTurn(Struct):
    """A question and its answer until now; ``error`` says why there is none."""

    question: str
    sent: float
    text: str = ""
    tokens: int = 0
    first: float | None = None
    last: float | None = None
    longest_pause_s: float = 0.0
    usage: Usage | None = None
    error: str = ""

    def add(self, text: str, now: float) -> None:
        """Take over a token that came ``now``."""
        self.text += text
        self.tokens += 1
        if self.last is None:
            self.first = now
        else:
            self.longest_pause_s = max(self.longest_pause_s, now - self.last)
        self.last = now

    @property
    def ended(self) -> bool:
        return self.usage is not None or bool(self.error)

    @property
    def first_s(self) -> float | None:
        """From the question to the first token."""
        return None if self.first is None else self.first - self.sent

    def waits_s(self, now: float) -> float:
        """For how long nothing has come."""
        return 0.0 if self.ended else now - (self.sent if self.last is None else self.last)


class ShownConversation(Struct):
    """A conversation and its turns until now; ``number`` counts from 0."""

    number: int
    talk: AssistantTalk
    turns: list[ShownTurn] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(turn.usage is not None for turn in self.turns)

    @property
    def ended(self) -> bool:
        """Whether nothing more is asked."""
        failed = any(turn.error for turn in self.turns)
        return failed or self.answered == len(self.talk.questions)
