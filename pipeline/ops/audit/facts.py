"""What one record tells the auditor."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from ....schemas.codec import DecodeError, decode_reply, decode_request
from ....schemas.messages import Chunk, Failure
from ....schemas.topics import ANY_ORDER, Header, Topics, origin
from ...broker.base import Record

MAX_ID_CHARACTERS: Final = 1_000
"""A request with a longer id is answered under its origin."""

How = Literal["first", "returned", "replayed"]
Kind = Literal["result", "failure", "chunk", "letter", "waiting", "unreadable"]
MOST: Final = 1 << 62  # what the work file can hold
EXPIRED: Final = "deadline_exceeded"


class Asked(NamedTuple):
    """A record of the request topic: a request, one that comes back from a retry topic, or one that was replayed.

    ``key`` is a hash, and only there where the order of replies matters; ``reply_topic`` only where it is not the
    default one.
    """

    identity: str
    how: How
    key: bytes | None
    reply_topic: str | None


class Event(NamedTuple):
    """Something that happened to a request; ``number`` is the seq of a reply, and of what waits the time it is due."""

    identity: str
    kind: Kind
    code: str = ""
    number: int = 0


class Audited(NamedTuple):
    """The topics that are read."""

    topics: Topics
    tiers: Sequence[str] = ()
    more_replies: Sequence[str] = ()

    @property
    def replies(self) -> frozenset[str]:
        return frozenset((self.topics.replies, *self.more_replies))

    @property
    def names(self) -> list[str]:
        """All of them, effects before their causes."""
        retries = [self.topics.retry(tier) for tier in self.tiers]
        return [*sorted(self.replies), self.topics.dead_letters, *retries, self.topics.requests]

    def fact(self, record: Record) -> Asked | Event:
        """What ``record`` tells; whatever its bytes are."""
        if record.topic == self.topics.requests:
            return self._asked(record)
        if record.topic in self.replies:
            return _replied(record)
        headers = dict(record.headers)
        if record.topic == self.topics.dead_letters:
            return Event(
                identity_of(record), "letter", headers.get(Header.ERROR_CODE, b"").decode(errors="replace")
            )
        return Event(identity_of(record), "waiting", "", _number(headers.get(Header.NOT_BEFORE_MS)))

    def _asked(self, record: Record) -> Asked:
        headers = dict(record.headers)
        topic = headers.get(Header.REPLY_TOPIC, b"").decode(errors="replace") or None
        ordered = record.key is not None and headers.get(Header.ORDER) != ANY_ORDER
        return Asked(
            identity_of(record),
            _how(headers),
            blake2b(record.key or b"", digest_size=16).digest() if ordered else None,
            None if topic == self.topics.replies else topic,
        )


def identity_of(record: Record) -> str:
    """Whose the record is: the id in its body, else the place where it first stood."""
    try:
        identity = decode_request(record.value).id
    except DecodeError as error:
        identity = error.id
    if identity is not None and len(identity) <= MAX_ID_CHARACTERS:
        return identity
    for name, value in record.headers:
        if name == Header.ORIGIN:
            return value.decode(errors="replace")
    return place_of(record)


def place_of(record: Record) -> str:
    return origin(record.topic, record.partition, record.offset)


def _how(headers: dict[str, bytes]) -> How:
    if Header.ORIGIN not in headers:
        return "first"
    return "returned" if _number(headers.get(Header.ATTEMPT)) > 1 else "replayed"


def _replied(record: Record) -> Event:
    try:
        reply = decode_reply(record.value)
    except DecodeError:
        return Event(place_of(record), "unreadable")
    seq = max(-1, min(reply.seq, MOST))
    if isinstance(reply, Failure):
        return Event(reply.id, "failure", reply.code, seq)
    return Event(reply.id, "chunk" if isinstance(reply, Chunk) else "result", "", seq)


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) < 16 else 0
