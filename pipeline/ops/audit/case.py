"""One request as its records tell it: how often it was asked, how often it ended, and with what."""

from collections import Counter

from msgspec import Struct, field

from .facts import EXPIRED
from .ledger import Line

NEVER_MS = 1 << 62


class Case(Struct):
    """`add` every line of one identity; the rest is what they come to."""

    identity: str
    asked_ms: int = NEVER_MS
    due_ms: int = 0
    began_ms: int = NEVER_MS
    how: Counter[str] = field(default_factory=Counter)
    replies: Counter[tuple[str, str]] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    chunks: Counter[int] = field(default_factory=Counter)
    reply_topics: set[str | None] = field(default_factory=set)
    first: tuple[int, bool, str, str] = (NEVER_MS, False, "", "")

    def add(self, line: Line) -> None:
        self.began_ms = min(self.began_ms, line.timestamp_ms)
        match line.kind:
            case None:
                self.how[line.how or ""] += 1
                self.asked_ms = min(self.asked_ms, line.timestamp_ms)
                self.due_ms = max(self.due_ms, line.timestamp_ms)
                self.reply_topics.add(line.reply_topic)
            case "waiting":
                self.due_ms = max(self.due_ms, line.number)
            case "chunk":
                self.chunks[line.number] += 1
            case "letter":
                self.letters[line.code] += 1
                self._ended(line.timestamp_ms, "letter", line.code)
            case "result" | "failure" as kind:
                self.replies[kind, line.code] += 1
                self._ended(line.timestamp_ms, kind, line.code)

    @property
    def known(self) -> bool:
        """Whether a request was read, and not only what became of it."""
        return bool(self.how)

    @property
    def deliveries(self) -> int:
        """So many terminal events there must be: one for each time that somebody sent or replayed it."""
        return max(1, self.how["first"] + self.how["replayed"])

    @property
    def letters_alone(self) -> int:
        """Dead letters that are the terminal event themselves: no Failure of their code went with them."""
        return sum(max(0, count - self.replies["failure", code]) for code, count in self.letters.items())

    @property
    def ends(self) -> int:
        return self.replies.total() + self.letters_alone

    @property
    def kinds(self) -> int:
        """How many different terminal events there are: a redelivery may end otherwise than the first delivery."""
        return len(self.replies) + bool(self.letters_alone)

    @property
    def repeated_chunks(self) -> int:
        return sum(max(0, count - self.deliveries) for count in self.chunks.values())

    @property
    def outcome(self) -> str:
        """What it ended with first: result, expired, letter, or the code of its failure."""
        *_, kind, code = self.first
        if kind != "failure":
            return kind
        return "expired" if code == EXPIRED else code

    def _ended(self, timestamp_ms: int, kind: str, code: str) -> None:
        # Of a failure and its dead letter, written in the same millisecond, the failure is the terminal event.
        end = (timestamp_ms, kind == "letter", kind, code)
        if end[:2] < self.first[:2]:
            self.first = end
