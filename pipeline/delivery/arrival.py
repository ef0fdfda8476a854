"""A request as it arrived: the record, and everything that was read from it once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, UnsetType

from ...schemas.messages import Request
from ...schemas.topics import ANY_ORDER, Header, header_values, origin
from ..broker.base import Record
from ..engine.job import Job
from .chunks import Chunks
from .leases import Lease

MAX_ID_CHARACTERS: Final = 1_000

NO_HEADERS: Final[Mapping[str, bytes]] = {}
NO_JOB: Final = Job("", Request())
ORIGIN: Final = re.compile(r"[A-Za-z0-9._-]{1,249}/[0-9]{1,10}/[0-9]{1,19}")


@dataclass(eq=False, slots=True)
class Arrival:
    """One request between its record and its outcome. It is made once and passed whole.

    Attributes:
        record: as it was read.
        headers: by name, parsed once.
        reply_topic: the one that a header names, else the task's.
        reply_partition: set when the reply topic is known to exist.
        id: the one in the body; set by the `RequestReader`.
        job: what the engine is asked; set by the `RequestReader`.
        lease: that of its client, if the request has one; set by the `RequestReader`.
        chunks: tell the answer in parts while it is being made; None if it is wanted whole.
        epoch: of its replies, if the answer may be told by several workers, one after the other.
        release: the version that took it, if that is of an alias; set by the `Handler`.
        first_seq: the number of its next reply while there are no ``chunks``.
    """

    record: Record
    headers: Mapping[str, bytes]
    reply_topic: str
    reply_partition: int | None = None
    id: str | None = None
    job: Job = NO_JOB
    lease: Lease | None = None
    chunks: Chunks | None = None
    epoch: int | UnsetType = UNSET
    first_seq: int = 0
    release: str = ""

    @property
    def seq(self) -> int:
        """The number of the next reply."""
        return self.first_seq if self.chunks is None else self.chunks.seq

    @property
    def reply_id(self) -> str:
        """The id of the reply: the request's own, else the record's origin."""
        if self.id is None or len(self.id) > MAX_ID_CHARACTERS:
            return origin_of(self.record, self.headers)
        return self.id

    @property
    def key(self) -> bytes:
        """By which a rollout chooses the version that answers: the same on each delivery."""
        return self.reply_id.encode() if self.record.key is None else self.record.key

    @property
    def keeps_order(self) -> bool:
        """Whether replies must keep the order of the requests of this record's key."""
        return self.record.key is not None and self.headers.get(Header.ORDER) != ANY_ORDER


def header_map(record: Record) -> Mapping[str, bytes]:
    """Header values by name, see `header_values`."""
    return header_values(record.headers) if record.headers else NO_HEADERS


def origin_of(record: Record, headers: Mapping[str, bytes]) -> str:
    """topic/partition/offset of the first delivery: the id of a request that names none.

    A retry carries it as a header. The header is untrusted, and an oversized value would exceed
    the broker's message limit: only a well-formed one counts.
    """
    value = headers.get(Header.ORIGIN)
    if value is not None and ORIGIN.fullmatch(first := value.decode(errors="replace")):
        return first
    return origin(record.topic, record.partition, record.offset)
