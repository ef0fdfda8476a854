"""What the records say about one request: how often it was sent, and how it ended."""

from collections import Counter

from msgspec import Struct, field

from .facts import CANCELLED, EXPIRED
from .told import Told
from .work_file import AuditRow

NEVER_MS = 1 << 62


class Case(Struct):
    """All rows of one identity, added with `add`. Properties are computed from them."""

    identity: str
    count: int = 1
    asked_ms: int = NEVER_MS
    due_ms: int = 0
    began_ms: int = NEVER_MS
    how: Counter[str] = field(default_factory=Counter)
    replies: Counter[tuple[str, str]] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    chunks: Counter[int] = field(default_factory=Counter)
    told: dict[int, Told] = field(default_factory=dict)
    cancels: int = 0
    hops: Counter[int] = field(default_factory=Counter)
    reply_topics: set[str | None] = field(default_factory=set)
    first_reply: tuple[int, str, str] = (NEVER_MS, "", "")
    letter_ms: int = NEVER_MS

    def add(self, row: AuditRow) -> None:
        self.began_ms = min(self.began_ms, row.timestamp_ms)
        match row.kind:
            case None:
                self.how[row.how or ""] += 1
                self.count = max(self.count, row.number)
                self.asked_ms = min(self.asked_ms, row.timestamp_ms)
                self.due_ms = max(self.due_ms, row.timestamp_ms)
                self.reply_topics.add(row.reply_topic)
            case "waiting":
                self.due_ms = max(self.due_ms, row.number)
            case "chunk" | "mark":
                told = self.told.setdefault(row.source, Told())
                self.chunks[row.number] += told.chunk(row.number, row.timestamp_ms, row.code)
            case "hop":
                self.hops[row.number] += 1
                self.due_ms = max(self.due_ms, row.timestamp_ms)
            case "cancel":
                self.cancels += 1
            case "letter":
                self.letters[row.code] += 1
                self.letter_ms = min(self.letter_ms, row.timestamp_ms)
            case "result" | "failure" as kind:
                self.replies[kind, row.code] += 1
                if row.source in self.told:
                    self.told[row.source].end()
                if row.timestamp_ms < self.first_reply[0]:
                    self.first_reply = (row.timestamp_ms, kind, row.code)

    @property
    def known(self) -> bool:
        """Whether a request record was read, not only events."""
        return bool(self.how)

    @property
    def deliveries(self) -> int:
        """The number of terminal events due: one for each time it was sent or replayed."""
        return max(1, self.how["first"] + self.how["replayed"])

    @property
    def letters_alone(self) -> int:
        """Dead letters that are terminal events themselves: there is no Failure with their code."""
        return sum(max(0, count - self.replies["failure", code]) for code, count in self.letters.items())

    @property
    def ends(self) -> int:
        return self.replies.total() + self.letters_alone

    @property
    def kinds(self) -> int:
        """The number of different terminal events: a redelivery may end differently."""
        return len(self.replies) + bool(self.letters_alone)

    @property
    def cancelled(self) -> bool:
        """Whether one of its terminal events says that it was cancelled."""
        return any(code in CANCELLED for _, code in self.replies)

    @property
    def last_step(self) -> int:
        """The step of a chain that it has reached."""
        return max(self.hops, default=1)

    @property
    def repeated_chunks(self) -> int:
        return sum(max(0, count - self.deliveries) for count in self.chunks.values())

    @property
    def is_resumed(self) -> bool:
        """Whether a worker went on with what another one had told."""
        return any(told.is_resumed for told in self.told.values())

    @property
    def outdated_chunks(self) -> int:
        return sum(told.outdated for told in self.told.values())

    @property
    def repeated_pieces(self) -> int:
        return sum(told.repeated for told in self.told.values())

    @property
    def is_torn(self) -> bool:
        """Whether a chunk is missing, before the one with the number before it, or changes what was told."""
        return any(told.is_torn for told in self.told.values())

    def is_told_late(self, due_ms: int) -> bool:
        """Whether a chunk is behind the last end, although the end that belongs to it was due."""
        if self.letters_alone:  # ends that are on another topic
            return False
        return any(0 <= told.open_ms <= due_ms for told in self.told.values())

    @property
    def outcome(self) -> str:
        """The first terminal event: result, expired, letter, or the code of the failure."""
        first_ms, kind, code = self.first_reply
        # A letter that accompanies a failure may come before it, where that goes through the later steps of a chain.
        if self.letters_alone and self.letter_ms < first_ms:
            return "letter"
        if kind != "failure":
            return kind
        return "expired" if code == EXPIRED else code
