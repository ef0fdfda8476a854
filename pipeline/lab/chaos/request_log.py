"""The requests of a run as the run observes them: which are open, when they ended, their latency.

These are figures only. Whether a request is lost is decided by the audit.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from ....schemas.codec import DecodeError, decode_reply, decode_request
from ....schemas.messages import Chunk, Failure
from ....schemas.topics import Header, Topics
from ...broker.base import Record
from ...errors import ReplyTopicNotAllowed
from ..load.requests import Planned
from .client_load import ID_PREFIX

ABORTED: Final = "aborted"
"""The ids of requests in aborted transactions begin with this."""


class ObservedEnd(NamedTuple):
    """A reply or dead letter that ended a request, ``at_s`` after the start of the load.

    ``kind`` is the kind of the request (good, again, garbage, …), ``code`` is "result" or the failure's code.
    ``latency_s`` is None when the request is not known. ``replied_ms`` is the Unix time at which the
    broker stored the end. ``stored_s`` is the latency by the broker's clock, see `broker_times`.
    """

    at_s: float
    partition: int
    kind: str
    code: str
    latency_s: float | None
    id: str = ""
    replied_ms: int = 0
    stored_s: float | None = None


class RequestLog:
    """Pairs requests with their ends. Requests without an id are only counted."""

    def __init__(self, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        self._topics = topics
        self._clock = clock
        self._began = clock()
        self._sent: dict[str, list[tuple[float, str]]] = {}
        self._sent_without_id = 0
        self._ended_origins: set[str] = set()
        self._own_replies: dict[str, str] = {}
        self._gone: set[str] = set()
        self.seen: list[ObservedEnd] = []
        self.sent_at: list[tuple[float, str]] = []
        self.repeated = 0
        """Ends of requests that had ended before."""
        self.client_replies: Counter[str] = Counter()
        """Replies to the requests of `ClientLoad`, by id."""
        self.own_replies = 0
        """Replies on topics that the requests named."""
        self.aborted_answers = 0

    def begin(self) -> None:
        """The load begins now."""
        self._began = self._clock()

    @property
    def now_s(self) -> float:
        """Seconds since the start of the load."""
        return self._clock() - self._began

    @property
    def open(self) -> int:
        """Requests without an observed end."""
        return len(self._sent) + self._sent_without_id - len(self._ended_origins)

    def sent(self, planned: Planned) -> None:
        """Note that a request is being sent."""
        now = self.now_s
        self.sent_at.append((now, planned.kind))
        if planned.id is None:
            self._sent_without_id += 1
        else:
            self._sent.setdefault(planned.id, []).append((now, planned.kind))
            if planned.replies:
                self._own_replies[planned.id] = planned.replies

    def refused(self, planned: Planned) -> None:
        """The request was not sent, since its topic was gone."""
        self._sent.pop(planned.id or "", None)

    def forget_open(self) -> None:
        """The topics were deleted, with all open requests."""
        self._sent.clear()
        self._sent_without_id = 0
        self._ended_origins.clear()

    def forget_replies(self, topics: Collection[str]) -> None:
        """These reply topics were deleted: replies to open requests that name them may have been there."""
        for identity in self._own_replies.keys() & self._sent.keys():
            if self._own_replies[identity] in topics:
                del self._sent[identity]
                self._gone.add(identity)

    def answered_per_s(self, begin_s: float, end_s: float) -> float:
        """Results per second between two times; at least 1, because a pace must not be 0."""
        results = sum(begin_s <= end.at_s < end_s and end.code == "result" for end in self.seen)
        return max(1.0, results / (end_s - begin_s))

    @property
    def unseen_by_audit(self) -> int:
        """Requests that ended on topics that the audit does not read, or may have."""
        return self.own_replies + len(self._gone)

    def read(self, record: Record) -> None:
        """Note a record of the reply topic or of the dead letters."""
        if record.topic == self._topics.dead_letters:
            # Other dead letters accompany a failure reply, which is the end of the request.
            if dict(record.headers).get(Header.ERROR_CODE, b"").decode() == ReplyTopicNotAllowed.code:
                self._end(record, _request_id(record), ReplyTopicNotAllowed.code)
            return
        reply = decode_reply(record.value)
        if not isinstance(reply, Chunk):
            self._end(record, reply.id, reply.code if isinstance(reply, Failure) else "result")

    def _end(self, record: Record, identity: str, code: str) -> None:
        if identity.startswith(ID_PREFIX):
            self.client_replies[identity] += 1
            return
        if identity.startswith(ABORTED):
            self.aborted_answers += 1
            return
        if record.topic == self._topics.dead_letters:
            self._gone.discard(identity)
        now = self.now_s
        waiting = self._sent.get(identity)
        if waiting:
            sent_at, kind = waiting.pop(0)
            if not waiting:
                del self._sent[identity]
            self.own_replies += record.topic not in (self._topics.replies, self._topics.dead_letters)
            self.seen.append(
                ObservedEnd(now, record.partition, kind, code, now - sent_at, identity, record.timestamp_ms)
            )
        elif identity.startswith(f"{self._topics.requests}/") and identity not in self._ended_origins:
            self._ended_origins.add(identity)
            self.seen.append(ObservedEnd(now, record.partition, "garbage", code, None))
        else:
            self.repeated += 1


def _request_id(record: Record) -> str:
    """The id that a reply to this dead letter would have."""
    try:
        found = decode_request(record.value).id
    except DecodeError as error:
        found = error.id
    return found or dict(record.headers).get(Header.ORIGIN, b"").decode()
