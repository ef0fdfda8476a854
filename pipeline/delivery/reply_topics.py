"""The topics to which replies may go."""

import asyncio
import fnmatch
import math
import re
import time
from collections.abc import Callable

from ...schemas.topics import Topics
from ..config import LimitConfig
from ..errors import NotWritable, ReplyTopicNotAllowed
from .arrival import Arrival
from .topic_watch import Partitions, current_partitions

MISSING_S = 5.0
"""Seconds in which a reply topic that did not exist is not asked for again."""

MAX_MISSING = 10_000
"""Missing topics that are remembered: requests choose the names."""

TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


class ReplyTopics:
    """The reply topics that may be used: those that the allow list names and that exist."""

    def __init__(
        self,
        topics: Topics,
        limits: LimitConfig,
        partitions: Partitions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = topics.replies
        self._patterns = [
            topics.replies,
            *(_filled_in(pattern, topics) for pattern in limits.reply_topics),
        ]
        self._ask = partitions
        self._clock = clock
        self._partitions: dict[str, int] = {}
        self._missing_until: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    def assign(self, arrival: Arrival) -> bool:
        """Choose the partition of the reply; False while the reply topic must be checked first.

        A reply has the partition number of its request, modulo the partitions of its topic: replies
        of equal keys stay together (docs/decisions/0003), and no key is hashed again.
        """
        count = self._partitions.get(arrival.reply_topic)
        if count is None:
            return False
        arrival.reply_partition = arrival.record.partition % count
        return True

    async def check(self, topic: str) -> None:
        """Raise ReplyTopicNotAllowed unless the topic may be used and exists.

        Asks the broker once for a topic that exists, and every `MISSING_S` for one that does not.
        """
        # A pattern's `*` matches any character; not every broker survives an invalid name.
        if not TOPIC_NAME.fullmatch(topic) or not any(
            fnmatch.fnmatchcase(topic, pattern) for pattern in self._patterns
        ):
            raise ReplyTopicNotAllowed(
                f"The reply topic {topic!r} is not on the allow list ({', '.join(self._patterns)}): use one that is, "
                "or have this one added to `reply_topics` in the worker's settings."
            )
        asking = self._asking.setdefault(topic, asyncio.Lock())
        try:
            async with asking:
                if topic not in self._partitions:
                    await self._find(topic)
        finally:  # also for a topic that is missing: requests choose the names
            if not asking.locked():
                self._asking.pop(topic, None)

    async def refresh(self) -> None:
        """Ask for all known topics again: partitions that were added are used, topics that are gone are forgotten.

        Raises BrokerError if the task's own reply topic is gone or has fewer partitions.
        """
        own = self._partitions.get(self._own)
        if own is not None:
            self._partitions[self._own] = await current_partitions(self._ask, self._own, own)
        named = [topic for topic in self._partitions if topic != self._own]
        # All at once: a broker answers for many topics in one response.
        counts = await asyncio.gather(*map(self._ask, named), return_exceptions=True)
        for topic, count in zip(named, counts, strict=True):
            if count is None:
                self.forget(topic)
            elif isinstance(count, int):
                self._partitions[topic] = count

    def forget(self, topic: str) -> None:
        """The topic is gone: the next request that names it asks for it again."""
        self._partitions.pop(topic, None)

    async def _find(self, topic: str) -> None:
        if self._missing_until.get(topic, -math.inf) <= self._clock():
            count = await self._ask(topic)
            if count is not None:
                self._partitions[topic] = count
                return
            self._remember_missing(topic)
        raise ReplyTopicNotAllowed(
            f"The reply topic {topic!r} does not exist: create it, then replay the request."
        )

    def gone(self, topic: str, error: NotWritable) -> ReplyTopicNotAllowed:
        """The error of a request whose reply could not be written, after its topic was found."""
        self.forget(topic)
        return ReplyTopicNotAllowed(
            f"The reply could not be written to {topic!r}. {error} Then replay the request."
        )

    def _remember_missing(self, topic: str) -> None:
        self._missing_until.pop(topic, None)  # keeps the dict in the order of the last question
        self._missing_until[topic] = self._clock() + MISSING_S
        if len(self._missing_until) > MAX_MISSING:
            del self._missing_until[next(iter(self._missing_until))]


def _filled_in(pattern: str, topics: Topics) -> str:
    """The pattern with ``{prefix}`` and ``{task}`` replaced; other braces stay as they are."""
    return pattern.replace("{prefix}", topics.prefix).replace("{task}", topics.task)
