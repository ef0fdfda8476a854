"""Replies as records: where they go, what they carry, and what happens to one that is too large."""

import fnmatch
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from msgspec import Raw

from ...schemas import codec
from ...schemas.messages import Failure, Result
from ...schemas.topics import Header, Topics
from ..broker.base import Headers, Message, Record
from ..config import LimitConfig
from ..engine.engine import Answer
from ..errors import ReplyTooLarge, ReplyTopicNotAllowed
from .window import Outcome


class Address(NamedTuple):
    """Who gets the reply to a record: the id it carries, its topic, its key (the id without one) and headers."""

    id: str
    topic: str
    key: bytes | None
    headers: Headers = ()


class ReplyTopics:
    """The reply topics that may be used: named by the allow list, and there."""

    def __init__(
        self, topics: Topics, limits: LimitConfig, partitions: Callable[[str], Awaitable[int | None]]
    ) -> None:
        self._patterns = [pattern.format(task=topics.task) for pattern in limits.reply_topics]
        self._partitions = partitions
        self._there = {topics.replies}

    def known(self, topic: str) -> bool:
        """Whether the topic is known to be usable without asking the broker."""
        return topic in self._there

    async def check(self, topic: str) -> None:
        """Raise ReplyTopicNotAllowed unless the topic may be used and exists. Asks the broker once for each topic."""
        if not any(fnmatch.fnmatchcase(topic, pattern) for pattern in self._patterns):
            allowed = ", ".join(self._patterns)
            raise ReplyTopicNotAllowed(
                f"The reply topic {topic!r} is not on the allow list ({allowed}): use one that is, or have this one "
                "added to `reply_topics` in the worker's settings."
            )
        if await self._partitions(topic) is None:
            raise ReplyTopicNotAllowed(
                f"The reply topic {topic!r} does not exist: create it, then replay the request."
            )
        self._there.add(topic)


class Replies:
    """Makes the reply records of one task."""

    def __init__(self, task: str, max_bytes: int) -> None:
        self._task, self._max_bytes = task, max_bytes

    def result(self, address: Address, answer: Answer) -> Outcome:
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
        """The record of a failure."""
        return Outcome((_message(address, codec.encode(failure)),))

    def _too_large(self, address: Address, size: int) -> Outcome:
        return self.failure(
            address,
            Failure(
                id=address.id,
                task=self._task,
                code=ReplyTooLarge.code,
                message=f"The reply has {size} bytes, more than may be published: ask for less, or raise the "
                "topic's max.message.bytes and `max_reply_bytes` in the worker's settings.",
            ),
        )


def _message(address: Address, body: bytes) -> Message:
    return Message(address.topic, body, address.key or address.id.encode(), address.headers)


def header_map(record: Record) -> Mapping[str, bytes]:
    """Header values by name; of a name that repeats, the last one."""
    return dict(record.headers)


def carried_over(record: Record) -> Headers:
    """The request's headers that its reply has as well."""
    return tuple(header for header in record.headers if header[0] == Header.TRACEPARENT)
