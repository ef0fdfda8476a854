"""Consumer groups of an embedded broker: the members, their partitions, and the handover."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ...errors import BrokerError
from ..base import Listener, Record, TopicPartition
from ..starts import log_starts
from .database import Database
from .topics import TopicTable

LOCK_DIRECTORY: Final = "groups"


class GroupMember:
    """The partitions of one consumer. A reader without a group assigns them itself."""

    def __init__(self, topics: Mapping[str, int], listener: Listener | None) -> None:
        """``topics`` are those it subscribed to, each with its number of partitions."""
        self.topics = topics
        self._listener = listener
        self.positions: dict[TopicPartition, int] = {}
        """The assigned partitions, each with the offset of the next record to return."""
        self.fetched: dict[TopicPartition, list[Record]] = {}
        """Read and not yet returned, at most READ_BYTES of each partition, in the order they are served."""
        self.paused: set[TopicPartition] = set()
        self.settled = False
        """False during a rebalance: no records are returned."""
        self.changed = asyncio.Event()
        """Set when there may be records to fetch, and when a poll must stop waiting for another reason."""
        self.failure: Exception | None = None

    async def revoke(self) -> None:
        """Await the listener, then drop the assignment."""
        self.settled = False
        try:
            if self._listener is not None and self.positions:
                await self._listener.revoked(frozenset(self.positions))
        except Exception as error:
            self.failure = error
        finally:
            self._drop()

    async def assign(self, positions: dict[TopicPartition, int]) -> None:
        """Take these partitions, then await the listener."""
        self.positions = positions
        self.paused &= positions.keys()
        try:
            if self._listener is not None:
                await self._listener.assigned(frozenset(positions))
        except Exception as error:
            self.failure = error
        self.settled = True
        self.changed.set()

    def end(self, error: Exception) -> None:
        """Drop the assignment without calling the listener; every later poll fails with ``error``."""
        self.failure = error
        self._drop()

    def _drop(self) -> None:
        self.positions = {}
        self.fetched = {}
        self.settled = False
        self.changed.set()


class Group:
    """One consumer group. A lock holds it for this process, so all of its members live here."""

    def __init__(
        self,
        name: str,
        database: Database,
        topics: TopicTable,
        rebalance_timeout_ms: int,
        *,
        temporary: bool = False,
    ) -> None:
        """``temporary``: the log began with this process, so each group is new."""
        self._name = name
        self._temporary = temporary
        self._database = database
        self._topics = topics
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self.generation = 0
        """See `Consumer.generation`. Kept in the file, so that it grows over the processes that have the group."""
        self._members: list[GroupMember] = []
        self._rebalancing = asyncio.Lock()
        self._lock: sqlite3.Connection | None = None

    async def join(self, member: GroupMember) -> None:
        """Returns when all members have their partitions.

        Raises BrokerError if another process has the group.
        """
        # Shielded: a rebalance that stops halfway would leave members without partitions.
        await asyncio.shield(asyncio.create_task(self._join(member)))

    async def leave(self, member: GroupMember) -> None:
        """Assign the member's partitions to the others. Does not call the member's listener."""
        await asyncio.shield(asyncio.create_task(self._leave(member)))

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        await self._database.run(self._topics.commit, self._name, offsets)

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        return await self._database.run(self._topics.committed, self._name, partitions)

    async def _join(self, member: GroupMember) -> None:
        async with self._rebalancing:
            if self._lock is None:
                self._lock = _lock(self._name, self._database.directory)
            await self._database.run(self._topics.subscribe, self._name, list(member.topics))
            self._members.append(member)
            await self._rebalance()

    async def _leave(self, member: GroupMember) -> None:
        async with self._rebalancing:
            if member in self._members:
                self._members.remove(member)
                await self._rebalance()
            if not self._members and self._lock is not None:
                self._lock.close()
                self._lock = None

    async def _rebalance(self) -> None:
        """All members hand over their partitions, then all get their new shares."""
        await asyncio.gather(*map(self._revoke, list(self._members)))
        try:
            self.generation = await self._database.run(self._topics.next_generation, self._name)
        except BrokerError as error:
            for member in self._members:
                member.end(error)
            return
        shares = range_assignment([member.topics for member in self._members])
        await asyncio.gather(*map(self._assign, list(self._members), shares))

    async def _revoke(self, member: GroupMember) -> None:
        try:
            async with asyncio.timeout(self._rebalance_timeout_ms / 1000):
                await member.revoke()
        except TimeoutError:
            self._members.remove(member)
            error = BrokerError(
                f"A member of the group {self._name} took more than {self._rebalance_timeout_ms} ms "
                "to hand over its partitions, so the group removed it: start it again."
            )
            member.end(error)

    async def _assign(self, member: GroupMember, share: Collection[TopicPartition]) -> None:
        try:
            committed = await self.committed(share)
            bounds = await self._database.run(self._topics.bounds, share)
        except BrokerError as error:
            member.end(error)
        else:
            begins = {at: bound.first for at, bound in bounds.items()}
            ends = {at: bound.next for at, bound in bounds.items()}
            if not self._temporary:
                log_starts(self._name, committed, begins, ends)
            await member.assign({at: offset or 0 for at, offset in committed.items()})


def range_assignment(subscriptions: Sequence[Mapping[str, int]]) -> list[list[TopicPartition]]:
    """The partitions of each member, given its topics with their numbers of partitions.

    Like Kafka's RangeAssignor: each topic's partitions are cut into one run per member, and where
    they cannot be equal the first members get one more.
    """
    shares: list[list[TopicPartition]] = [[] for _ in subscriptions]
    for topic in sorted({topic for topics in subscriptions for topic in topics}):
        members = [index for index, topics in enumerate(subscriptions) if topic in topics]
        length, longer = divmod(subscriptions[members[0]][topic], len(members))
        begin = 0
        for rank, index in enumerate(members):
            end = begin + length + (rank < longer)
            shares[index] += [TopicPartition(topic, number) for number in range(begin, end)]
            begin = end
    return shares


def _lock(group: str, directory: Path) -> sqlite3.Connection:
    """A lock that ends when the connection is closed or the process ends, also by a kill.

    SQLite locks the file, so this works wherever the log itself does: on file systems without flock too.
    """
    path = directory / LOCK_DIRECTORY / f"{quote(group, safe='')}.lock"
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise BrokerError(
                f"Cannot lock {path} ({error}): check the file permissions, or remove the file."
            ) from error
        raise BrokerError(
            f"Another process already serves the consumer group {group} in {directory}: stop it first, "
            "or use Kafka to share the work between processes."
        ) from None
    return connection
