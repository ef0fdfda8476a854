"""What the run itself sees: which requests are open, when replies came, how long they took. Only the auditor judges."""

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ....schemas.codec import DecodeError, decode_reply, decode_request
from ....schemas.messages import Chunk, Failure
from ....schemas.topics import Header, Topics
from ...broker.base import Record
from ...errors import ReplyTopicNotAllowed
from ..load.requests import Planned
from .customer import PREFIX


class Seen(NamedTuple):
    """One reply or dead letter that ended a request. ``latency_s`` is None where the request is not known.

    ``at_s`` counts from the start of the run. ``kind`` is what was sent (good, again, garbage, …), ``code`` result
    or that of the failure.
    """

    at_s: float
    partition: int
    kind: str
    code: str
    latency_s: float | None


class Ledger:
    """Counts what is sent and what is seen. Requests that bring no id are counted, but not told apart."""

    def __init__(self, topics: Topics, clock: Callable[[], float] = time.monotonic) -> None:
        self._topics, self._clock = topics, clock
        self._began = clock()
        self._sent: dict[str, list[tuple[float, str]]] = {}
        self._nameless_sent = 0
        self._places: set[str] = set()
        self.seen: list[Seen] = []
        self.sent_at: list[tuple[float, str]] = []
        self.repeated = 0
        """Ends of requests that had ended before."""
        self.customer: Counter[str] = Counter()
        """Replies to our own client's requests, by id."""

    @property
    def now_s(self) -> float:
        """Seconds since the start of the run."""
        return self._clock() - self._began

    @property
    def open(self) -> int:
        """Requests that were sent and whose end was not seen."""
        return len(self._sent) + self._nameless_sent - len(self._places)

    @property
    def ends(self) -> Counter[str]:
        return Counter(seen.code for seen in self.seen)

    def sent(self, planned: Planned) -> None:
        """A request is on its way."""
        now = self.now_s
        self.sent_at.append((now, planned.kind))
        if planned.id is None:
            self._nameless_sent += 1
        else:
            self._sent.setdefault(planned.id, []).append((now, planned.kind))

    def read(self, record: Record) -> None:
        """A record of a reply topic or of the dead letters was read."""
        if record.topic == self._topics.dead_letters:
            # The others are beside a failure reply, which is what ends the request.
            if dict(record.headers).get(Header.ERROR_CODE, b"").decode() == ReplyTopicNotAllowed.code:
                self._end(record, _request_id(record), ReplyTopicNotAllowed.code)
            return
        reply = decode_reply(record.value)
        if not isinstance(reply, Chunk):
            self._end(record, reply.id, reply.code if isinstance(reply, Failure) else "result")

    def _end(self, record: Record, identity: str, code: str) -> None:
        if identity.startswith(PREFIX):
            self.customer[identity] += 1
            return
        now = self.now_s
        waiting = self._sent.get(identity)
        if waiting:
            at, kind = waiting.pop(0)
            if not waiting:
                del self._sent[identity]
            self.seen.append(Seen(now, record.partition, kind, code, now - at))
        elif identity.startswith(f"{self._topics.requests}/") and identity not in self._places:
            self._places.add(identity)
            self.seen.append(Seen(now, record.partition, "garbage", code, None))
        else:
            self.repeated += 1


def _request_id(record: Record) -> str:
    """The id that the reply would have had."""
    try:
        found = decode_request(record.value).id
    except DecodeError as error:
        found = error.id
    return found or dict(record.headers).get(Header.ORIGIN, b"").decode()
