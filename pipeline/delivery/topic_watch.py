"""Notices deleted topics, of which a consumer only gets empty polls, and added partitions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from ..errors import BrokerError

log = logging.getLogger(__name__)

CHECK_INTERVAL_S: Final = 30.0

Partitions = Callable[[str], Awaitable[int | None]]
"""Asks the broker for the number of partitions of a topic; None if there is no such topic."""


class TopicWatch:
    """Checks that topics still exist, with at least the partitions they had."""

    def __init__(self, partitions: Partitions, topics: Collection[str]) -> None:
        self._ask = partitions
        self._known = dict.fromkeys(topics, 0)

    def known(self, topic: str) -> int:
        """The partitions of the topic at the last check; 0 before the first one."""
        return self._known.get(topic, 0)

    async def check(self) -> None:
        """Ask for all topics once. Raises BrokerError for one that is gone or has fewer partitions."""
        known = dict(self._known)
        # All at once: a broker answers for many topics in one response.
        counts = await asyncio.gather(*(current_partitions(self._ask, *one) for one in known.items()))
        self._known = dict(zip(known, counts, strict=True))


async def check_regularly(*checks: Callable[[], Awaitable[None]]) -> None:
    """Return never; run the checks at once and every 30 s. Raises the BrokerError of a check."""
    while True:
        for check in checks:
            await check()
        await asyncio.sleep(CHECK_INTERVAL_S)


async def current_partitions(partitions: Partitions, topic: str, known: int) -> int:
    """The number of partitions of the topic; ``known`` if the broker does not answer.

    Raises BrokerError if the topic is gone, or was recreated with fewer partitions than ``known``:
    records for the missing partitions would wait for ever.
    """
    try:
        count = await partitions(topic)
    except BrokerError as error:
        log.debug("The topic %s could not be checked, the next check tries again: %s", topic, error)
        return known
    if count is None:
        raise BrokerError(
            f"The topic {topic} was deleted: start the worker again, which creates it, and find out who deleted it."
        )
    if count < known:
        raise BrokerError(
            f"The topic {topic} was recreated with {count} partitions, it had {known}: start the worker again."
        )
    return count
