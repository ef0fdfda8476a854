"""Consumer groups of an embedded broker: who has which partitions, and the handover when members come and go."""

import asyncio
import fcntl
from collections.abc import Collection, Mapping, Sequence
from io import BufferedWriter
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from ...errors import BrokerError
from ..base import TopicPartition

LOCK_DIRECTORY: Final = "groups"


class Member(Protocol):
    """What a group needs of a consumer."""

    topics: Mapping[str, int]
    """The topics that it subscribed to, and how many partitions they have."""

    async def revoke(self) -> None:
        """Hand over: await the listener, then forget the assignment."""
        ...

    async def assign(self, partitions: Collection[TopicPartition]) -> None: ...

    def evict(self, error: BrokerError) -> None:
        """Out of the group: the next poll raises ``error``."""
        ...


class Group:
    """One consumer group. Its members live in one process, which a file lock holds against others."""

    def __init__(self, name: str, directory: Path, rebalance_timeout_ms: int) -> None:
        self._name = name
        self._directory = directory
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._members: list[Member] = []
        self._rebalancing = asyncio.Lock()
        self._lock_file: BufferedWriter | None = None

    async def join(self, member: Member) -> None:
        """Returns when all members have their partitions. Raises BrokerError when another process has the group."""
        # A rebalance that stops half-way would leave members without partitions for ever.
        await asyncio.shield(asyncio.create_task(self._join(member)))

    async def leave(self, member: Member) -> None:
        """The member's partitions move at once; it is not asked to hand over. Does nothing for one that is out."""
        await asyncio.shield(asyncio.create_task(self._leave(member)))

    async def _join(self, member: Member) -> None:
        async with self._rebalancing:
            if self._lock_file is None:
                self._lock_file = _lock(self._name, self._directory)
            await self._revoke_all()
            self._members.append(member)
            await self._assign_all()

    async def _leave(self, member: Member) -> None:
        async with self._rebalancing:
            if member in self._members:
                self._members.remove(member)
                await self._revoke_all()
                await self._assign_all()
            if not self._members and self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None

    async def _revoke_all(self) -> None:
        await asyncio.gather(*map(self._revoke, list(self._members)))

    async def _revoke(self, member: Member) -> None:
        try:
            async with asyncio.timeout(self._rebalance_timeout_ms / 1000):
                await member.revoke()
        except TimeoutError:
            self._members.remove(member)
            member.evict(
                BrokerError(
                    f"A member of {self._name} took more than {self._rebalance_timeout_ms} ms to hand over its "
                    "partitions, so the group went on without it: start it again."
                )
            )

    async def _assign_all(self) -> None:
        shares = range_assignment([member.topics for member in self._members])
        await asyncio.gather(
            *(member.assign(share) for member, share in zip(self._members, shares, strict=True))
        )


def range_assignment(subscriptions: Sequence[Mapping[str, int]]) -> list[list[TopicPartition]]:
    """The partitions of each member, given its topics with their numbers of partitions.

    As Kafka's range assignor: each topic's partitions in runs of equal length, the first members getting one more.
    """
    shares: list[list[TopicPartition]] = [[] for _ in subscriptions]
    for topic in sorted({topic for topics in subscriptions for topic in topics}):
        members = [index for index, topics in enumerate(subscriptions) if topic in topics]
        length, longer = divmod(subscriptions[members[0]][topic], len(members))
        begin = 0
        for place, index in enumerate(members):
            end = begin + length + (place < longer)
            shares[index] += [TopicPartition(topic, number) for number in range(begin, end)]
            begin = end
    return shares


def _lock(group: str, directory: Path) -> BufferedWriter:
    """Held until the file is closed or the process ends, however it ends."""
    path = directory / LOCK_DIRECTORY / f"{quote(group, safe='')}.lock"
    path.parent.mkdir(exist_ok=True)
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BrokerError(
            f"Another process already serves the consumer group {group} in {directory}: stop it first, "
            f"or use Kafka to share the work between processes."
        ) from None
    return file
