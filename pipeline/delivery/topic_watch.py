"""Notices topics that are deleted or grow while a worker runs: a consumer of a deleted topic only gets empty polls."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from ..errors import BrokerError

log = logging.getLogger(__name__)

LOOK_S: Final = 30.0

Partitions = Callable[[str], Awaitable[int | None]]
"""Asks the broker how many partitions a topic has; None without such a topic."""


class TopicWatch:
    """Looks whether topics are as they were."""

    def __init__(self, partitions: Partitions, topics: Collection[str]) -> None:
        self._ask = partitions
        self._known = dict.fromkeys(topics, 0)

    async def look(self) -> None:
        """Ask for all topics once. Raises BrokerError for one that is gone, or has fewer partitions than before."""
        for topic, known in self._known.items():
            self._known[topic] = await still_there(self._ask, topic, known)


async def look_often(*looks: Callable[[], Awaitable[None]]) -> None:
    """Return never; look at once and each 30 s. Raises the BrokerError of a look."""
    while True:
        for look in looks:
            await look()
        await asyncio.sleep(LOOK_S)


async def still_there(partitions: Partitions, topic: str, known: int) -> int:
    """How many partitions the topic has, ``known`` where the broker cannot tell.

    Raises BrokerError where it is gone, or was made anew with fewer than ``known``: what is under way to the others
    would wait for ever.
    """
    try:
        count = await partitions(topic)
    except BrokerError as error:
        log.debug("Whether the topic %s is as it was is looked up later: %s", topic, error)
        return known
    if count is None:
        raise BrokerError(
            f"The topic {topic} was deleted: start the worker again, which makes it anew, and look who deleted it."
        )
    if count < known:
        raise BrokerError(
            f"The topic {topic} was made anew with {count} partitions, it had {known}: start the worker again."
        )
    return count
