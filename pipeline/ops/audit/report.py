"""The report of an audit."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

EXAMPLES: Final = 10


class Oldest(Struct):
    """The oldest request that has not ended."""

    id: str
    asked_ms: int
    age_s: float


class StepCount(Struct):
    """What the topics say about one step of a chain.

    Attributes:
        reached: requests that have reached it, also with an earlier failure that it passes on.
        repeated: records on its topic beyond one for each time that the chain was asked.
        missing: requests without a terminal event that are lost here: they have reached it, and none after it.
    """

    reached: int = 0
    repeated: int = 0
    missing: int = 0


class AuditReport(Struct):
    """What the topics say about the requests of a time range.

    Attributes:
        requests: requests by distinct id; each has ended (``results``, ``failures``, ``expired``,
            ``dead_letters``), or is ``missing``, ``open`` or ``elsewhere``.
        results: ended with a result.
        failures: ended with a failure reply, by its code.
        expired: ended because their deadline had passed.
        dead_letters: ended as a dead letter, without a reply.
        missing: no terminal event, although one was due.
        open: no terminal event, and not due yet.
        elsewhere: no terminal event, but a reply topic that was not read (``unread_topics``).
        repeats: requests sent again with the id of an earlier one.
        missing_repeats: repeats and replays without a terminal event of their own.
        replayed: records that came back from the dead letters.
        retried: records that came back from a retry topic.
        cancels: requests that were cancelled by a record on the topic of cancels.
        cancelled: requests that ended as ``cancelled`` or ``superseded``, with or without a lease; they are
            counted in ``failures`` too.
        superseded: of these, those that a newer request has superseded.
        late_cancels: requests with a cancel that ended otherwise: it came too late, or from another tenant.
        kept: dead letters that accompany a failure reply.
        duplicated: terminal events beyond one for each time that a request was sent.
        contradictory: requests with too many terminal events that are not all the same.
        chunks: parts of answers that were told while these were being made.
        resumed: requests with pieces of one worker, behind which another one has gone on.
        outdated_chunks: chunks that do not count: of workers that did not know that they were replaced.
        repeated_pieces: pieces that were told again, among those that count.
        torn: requests of which a chunk or a piece is missing, comes before an earlier one, or differs from
            what was told in its place before.
        late_chunks: requests with a chunk behind their last terminal event: a worker was suspended for longer
            than its session, and went on.
        duplicated_chunks: chunks beyond one for each time that a request was sent.
        out_of_order: first replies or chunks before the first end of an earlier request of their key.
        unknown: ids of replies and dead letters whose requests are not (or no longer) in the topic.
        deleted: offsets of the request topic that retention has deleted before they were read.
        unreadable: records on reply topics that are not replies.
        steps: of a chain, by the number of the step; empty for a task.
        examples: up to 10 ids of each problem.
    """

    since_ms: int | None
    until_ms: int | None
    requests: int = 0
    results: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    dead_letters: int = 0
    missing: int = 0
    open: int = 0
    elsewhere: int = 0
    repeats: int = 0
    missing_repeats: int = 0
    replayed: int = 0
    retried: int = 0
    cancels: int = 0
    cancelled: int = 0
    superseded: int = 0
    late_cancels: int = 0
    kept: int = 0
    duplicated: int = 0
    contradictory: int = 0
    chunks: int = 0
    resumed: int = 0
    outdated_chunks: int = 0
    repeated_pieces: int = 0
    torn: int = 0
    late_chunks: int = 0
    duplicated_chunks: int = 0
    out_of_order: int = 0
    unknown: int = 0
    unreadable: int = 0
    deleted: int = 0
    steps: dict[int, StepCount] = field(default_factory=dict)
    oldest_open: Oldest | None = None
    unread_topics: list[str] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def unended(self) -> int:
        """Terminal events that are absent from the topics read, for whatever reason."""
        return self.missing + self.missing_repeats + self.elsewhere + self.open

    @property
    def lost(self) -> bool:
        """Whether a terminal event is missing although it was due, or a reply or chunk is out of order."""
        out_of_order = self.out_of_order or self.torn
        return bool(self.missing or self.missing_repeats or out_of_order or self.elsewhere)

    @property
    def repeated(self) -> bool:
        """Whether anything came more than once; also a chunk behind the end, of a worker that was suspended."""
        return bool(self.duplicated or self.duplicated_chunks or self.late_chunks)

    def note_unread(self, topics: Iterable[str]) -> None:
        for topic in topics:
            if len(self.unread_topics) < EXAMPLES and topic not in self.unread_topics:
                self.unread_topics.append(topic)

    def example(self, problem: str, identity: str) -> None:
        known = self.examples.setdefault(problem, [])
        if len(known) < EXAMPLES and identity not in known:
            known.append(identity)
