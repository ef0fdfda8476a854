"""What the auditor reads from one record."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, Self

import msgspec
from msgspec import UNSET

from ....schemas.cancels import Cancel, decode_cancel
from ....schemas.codec import DecodeError, decode_reply, decode_request
from ....schemas.messages import Chunk, Failure
from ....schemas.topics import ANY_ORDER, Header, Topics, header_values, origin
from ...broker.base import Record
from ...config import Config

MAX_ID_CHARACTERS: Final = 1_000
"""A request with a longer id is answered under its origin.

`delivery/replies` has the same limit. The auditor must not share code with what it audits: a wrong number there would
then be wrong here too, and the audit would not find it.
"""

How = Literal["first", "returned", "replayed"]
Kind = Literal["result", "failure", "chunk", "mark", "letter", "waiting", "cancel", "hop", "unreadable"]
MAX_SEQ: Final = 1 << 62  # fits into an SQLite integer
EXPIRED: Final = "deadline_exceeded"
DIGEST_BYTES: Final = 4
"""Of each piece: one that was changed goes unseen once in 4 000 million times."""

SUPERSEDED: Final = "superseded"
CANCELLED: Final = ("cancelled", SUPERSEDED)


_pieces: Final = msgspec.json.Decoder(list[msgspec.Raw])


class RequestFact(NamedTuple):
    """A record of the request topic: new, returned from a retry topic, or replayed.

    ``key`` is a hash of the record key, None when the order of replies does not matter.
    ``reply_topic`` is None for the task's own reply topic. ``requests`` is 1, or the number of requests
    in a batch that cannot be read: their identity is the place of the first.
    """

    identity: str
    how: How
    key: bytes | None
    reply_topic: str | None
    requests: int = 1


class EventFact(NamedTuple):
    """A record of another topic.

    ``code``: of a failure or a dead letter; of a chunk with an epoch see `_chunk`.
    ``number``: a reply's seq, the due time of a retry in Unix ms, or the step of a chain that a hop leads to.
    """

    identity: str
    kind: Kind
    code: str = ""
    number: int = 0


class Audited(NamedTuple):
    """What is audited: a task's topics, its retry ``tiers``, and ``more_replies`` topics.

    With ``id_prefix``, only requests whose ids begin with it. A chain has several ``steps``: its requests are
    those of the first one, and each record of a later step belongs to one of them.
    """

    topics: Topics
    tiers: Sequence[str] = ()
    more_replies: Sequence[str] = ()
    id_prefix: str = ""
    steps: int = 1

    @classmethod
    def of(cls, task: str, config: Config, more_replies: Sequence[str] = (), id_prefix: str = "") -> Self:
        """The topics of a task, or of a chain, under these settings."""
        tiers = [f"{seconds}s" for seconds in config.retries.tiers_s]
        steps = len(config.chains[task].steps) if task in config.chains else 1
        return cls(Topics(task, config.kafka.topic_prefix), tiers, more_replies, id_prefix, steps)

    @property
    def replies(self) -> frozenset[str]:
        return frozenset((self.topics.replies, *self.more_replies))

    @property
    def names(self) -> list[str]:
        """All topics that are read, effects before their causes."""
        steps = [self.topics.of_step(step) for step in range(self.steps, 0, -1)]
        *ways, requests = [name for step in steps for name in (*map(step.retry, self.tiers), step.requests)]
        return [*sorted(self.replies), self.topics.dead_letters, *ways, self.topics.cancels, requests]

    def fact(self, record: Record) -> RequestFact | EventFact | None:
        """What the record says; None for a heartbeat. Accepts any bytes."""
        if record.topic == self.topics.requests:
            return self._request(record)
        if record.topic in self.replies:
            return _reply(record)
        if record.topic == self.topics.cancels:
            return _cancel(record)
        headers = header_values(record.headers)
        if record.topic == self.topics.dead_letters:
            place = self.topics.around(headers.get(Header.ORIGIN, b"").decode(errors="replace"))
            code = headers.get(Header.ERROR_CODE, b"").decode(errors="replace")
            return EventFact(identity_of(record, place.step), "letter", code)
        place = self.topics.around(record.topic)
        identity = identity_of(record, place.step)
        if record.topic != place.requests:
            return EventFact(identity, "waiting", "", _number(headers.get(Header.NOT_BEFORE_MS)))
        how = _how(headers)
        return (
            EventFact(identity, "hop", "", place.step)
            if how == "first"
            else RequestFact(identity, how, None, None)
        )

    def _request(self, record: Record) -> RequestFact:
        if record.unread is not None:
            first = record.unread.first_offset
            place = origin(record.topic, record.partition, first)
            return RequestFact(place, "first", None, None, record.offset - first + 1)
        headers = header_values(record.headers)
        topic = headers.get(Header.REPLY_TOPIC, b"").decode(errors="replace") or None
        ordered = record.key is not None and headers.get(Header.ORDER) != ANY_ORDER
        return RequestFact(
            identity_of(record),
            _how(headers),
            blake2b(record.key or b"", digest_size=16).digest() if ordered else None,
            None if topic == self.topics.replies else topic,
        )


def identity_of(record: Record, step: int = 1) -> str:
    """The id of the request that a record belongs to: the id in its body, else its origin.

    In the bodies of a later ``step`` of a chain, the id of the request is followed by the number of the step.
    """
    try:
        identity = decode_request(record.value).id
    except DecodeError as error:
        identity = error.id
    if identity is not None and step > 1:
        identity = identity.removesuffix(f"/{step}")
    if identity is not None and len(identity) <= MAX_ID_CHARACTERS:
        return identity
    for name, value in record.headers:
        if name == Header.ORIGIN and value:
            return value.decode(errors="replace")
    return position_of(record)


def position_of(record: Record) -> str:
    return origin(record.topic, record.partition, record.offset)


def _how(headers: dict[str, bytes]) -> How:
    if Header.ORIGIN not in headers:
        return "first"
    return "returned" if _number(headers.get(Header.ATTEMPT)) > 1 else "replayed"


def _reply(record: Record) -> EventFact:
    try:
        reply = decode_reply(record.value)
    except DecodeError:
        return EventFact(position_of(record), "unreadable")
    seq = max(-1, min(reply.seq, MAX_SEQ))
    if isinstance(reply, Failure):
        return EventFact(reply.id, "failure", reply.code, seq)
    if isinstance(reply, Chunk):
        return _chunk(reply, seq)
    return EventFact(reply.id, "result", "", seq)


def _chunk(chunk: Chunk, seq: int) -> EventFact:
    """Of a chunk with an epoch ``code`` is that, its position, and a digest of each piece. An empty one is a mark."""
    if chunk.epoch is UNSET:
        return EventFact(chunk.id, "chunk", "", seq)
    try:
        pieces = _pieces.decode(chunk.output)
    except msgspec.MsgspecError:
        return EventFact(chunk.id, "unreadable")
    told = "".join(blake2b(bytes(piece), digest_size=DIGEST_BYTES).hexdigest() for piece in pieces)
    code = f"{max(0, chunk.epoch)} {max(0, chunk.from_)} {told}"
    return EventFact(chunk.id, "chunk" if pieces else "mark", code, seq)


def _cancel(record: Record) -> EventFact | None:
    try:
        message = decode_cancel(record.value)
    except DecodeError:
        return None
    return EventFact(message.id, "cancel", message.reason) if isinstance(message, Cancel) else None


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) < 16 else 0
