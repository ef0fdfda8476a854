"""Replies as records: where they go, what they carry, and what happens to one that is too large."""

import asyncio
import fnmatch
import math
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from msgspec import Raw

from ...schemas import codec
from ...schemas.messages import Failure, Result
from ...schemas.topics import Header, Topics, origin
from ..broker.base import Headers, Message, Record
from ..config import LimitConfig
from ..engine.engine import EngineAnswer
from ..errors import ReplyTooLarge, ReplyTopicNotAllowed
from .outcome import Outcome
from .topic_watch import Partitions, still_there

MAX_ID_CHARACTERS = 1_000

MISSING_S = 5.0
"""How long a reply topic that did not exist is not looked for again, whatever requests name it."""

MAX_MISSING = 1_000

TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
ORIGIN = re.compile(r"[A-Za-z0-9._-]{1,249}/[0-9]{1,10}/[0-9]{1,19}")


class Address(NamedTuple):
    """Where the reply to a record goes: the id it carries, its topic and partition, its key (or the id) and headers."""

    id: str
    topic: str
    partition: int
    key: bytes | None
    headers: Headers = ()


class ReplyTopics:
    """The reply topics that may be used: named by the allow list, and there."""

    def __init__(
        self,
        topics: Topics,
        limits: LimitConfig,
        partitions: Partitions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patterns = [
            topics.replies,
            *(_named(pattern, topics) for pattern in limits.reply_topics),
        ]
        self._ask, self._clock = partitions, clock
        self._partitions: dict[str, int] = {}
        self._missing: dict[str, float] = {}
        self._asking = asyncio.Lock()

    def address(self, record: Record, topic: str, identity: str | None) -> Address | None:
        """Where the reply goes; None when the topic must be checked first.

        Replies keep to the partition of their requests: equal keys stay together, and no key is hashed again.
        """
        count = self._partitions.get(topic)
        if count is None:
            return None
        if identity is None or len(identity) > MAX_ID_CHARACTERS:
            identity = origin_of(record)
        return Address(identity, topic, record.partition % count, record.key, carried_over(record))

    async def check(self, topic: str) -> None:
        """Raise ReplyTopicNotAllowed unless the topic may be used and exists.

        Asks the broker once for each topic that exists, and again after `MISSING_S` for one that does not.
        """
        # A pattern's `*` matches anything, and not every broker survives being asked for what is no name.
        if not TOPIC_NAME.fullmatch(topic) or not any(
            fnmatch.fnmatchcase(topic, pattern) for pattern in self._patterns
        ):
            raise ReplyTopicNotAllowed(
                f"The reply topic {topic!r} is not on the allow list ({', '.join(self._patterns)}): use one that is, "
                "or have this one added to `reply_topics` in the worker's settings."
            )
        async with self._asking:
            if topic not in self._partitions:
                await self._find(topic)

    async def look(self) -> None:
        """Ask again: partitions that were added to the topics are used. Raises BrokerError for a topic that is gone."""
        for topic, known in list(self._partitions.items()):
            self._partitions[topic] = await still_there(self._ask, topic, known)

    async def _find(self, topic: str) -> None:
        if self._missing.get(topic, -math.inf) <= self._clock():
            count = await self._ask(topic)
            if count is not None:
                self._partitions[topic] = count
                return
            self._remember_missing(topic)
        raise ReplyTopicNotAllowed(
            f"The reply topic {topic!r} does not exist: create it, then replay the request."
        )

    def _remember_missing(self, topic: str) -> None:
        self._missing.pop(topic, None)  # so that the first is always the one that was asked for longest ago
        self._missing[topic] = self._clock() + MISSING_S
        if len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]


def _named(pattern: str, topics: Topics) -> str:
    """The pattern with its two placeholders filled in; whatever else stands in braces is left as it is."""
    return pattern.replace("{prefix}", topics.prefix).replace("{task}", topics.task)


class Replies:
    """Makes the reply records of one task."""

    def __init__(self, task: str, max_bytes: int) -> None:
        self._task, self._max_bytes = task, max_bytes

    def result(self, address: Address, answer: EngineAnswer) -> Outcome:
        """The record of an answer; a Failure instead if it is larger than a reply may be."""
        body = codec.encode(
            Result(
                id=address.id,
                task=self._task,
                model=answer.model,
                version=answer.version,
                output=Raw(answer.output),
                cache=answer.cache,
                timings=answer.timings,
                batch=answer.batch,
            )
        )
        if len(body) > self._max_bytes:
            return self._too_large(address, len(body))
        return Outcome((_message(address, body),), lambda: self._too_large(address, len(body)))

    def failure(self, address: Address, failure: Failure) -> Outcome:
        """The record of a failure; where even that is too large, it goes without the request's key and headers."""
        body, bare = codec.encode(failure), address._replace(key=None, headers=())
        return Outcome((_message(address, body),), lambda: Outcome((_message(bare, body),)))

    def _too_large(self, address: Address, size: int) -> Outcome:
        return self.failure(
            address,
            Failure(
                id=address.id,
                task=self._task,
                code=ReplyTooLarge.code,
                message=f"The reply has {size} bytes, more than may be published: ask for less, or raise, to 1 MB at "
                "most, the topic's max.message.bytes and `max_reply_bytes` in the worker's settings.",
            ),
        )


def _message(address: Address, body: bytes) -> Message:
    key = address.key or address.id.encode()
    return Message(address.topic, body, key, address.headers, address.partition)


def sentence(error: Exception) -> str:
    """What to tell the sender; of a name sent to us that goes on and on only so much as fits."""
    message = str(error)
    return message if len(message) <= 500 else f"{message[:300]} … {message[-200:]}"


def header_map(record: Record) -> dict[str, bytes]:
    """Header values by name; of a name that repeats, the last one."""
    return dict(record.headers)


def origin_of(record: Record) -> str:
    """Where the record first stood, however often it was moved since: the id of a request that brings none."""
    if record.headers:
        # Anybody may send this header: one that goes on and on would make a reply that no broker takes.
        first = header_map(record).get(Header.ORIGIN, b"").decode(errors="replace")
        if ORIGIN.fullmatch(first):
            return first
    return origin(record.topic, record.partition, record.offset)


def carried_over(record: Record) -> Headers:
    """The request's headers that its reply has as well."""
    if not record.headers:
        return ()
    return tuple(header for header in record.headers if header[0] == Header.TRACEPARENT)
