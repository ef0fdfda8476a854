"""A consumer of an embedded broker: polling, and its side of a rebalance."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from ...errors import BrokerError
from ..base import Listener, Record, TopicPartition
from .group import Group
from .storage import Storage

FOREIGN_POLL_S: Final = 0.01
"""How often a waiting consumer looks whether another process has appended."""

log = logging.getLogger(__name__)


class EmbeddedConsumer:
    """See `Consumer` in `base`."""

    def __init__(
        self, storage: Storage, topics: Mapping[str, int], group_name: str | None, listener: Listener | None
    ) -> None:
        self.topics = topics
        self._storage = storage
        self._group_name = group_name
        self._group: Group | None = None
        self._listener = listener
        self._paused: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        # Read and not yet returned, at most READ_BYTES of each partition; the next partition to be served first.
        self._fetched: dict[TopicPartition, list[Record]] = {}
        self._settled = False
        self._failure: Exception | None = None
        # Set whenever there may be records that are not fetched yet, and when waiting is over for another reason.
        self._news = asyncio.Event()
        storage.watch(self._news)

    async def join(self, group: Group) -> None:
        self._group = group
        await group.join(self)

    async def read(self, *, latest: bool) -> None:
        """Read all partitions of the topics without a group."""
        partitions = [
            TopicPartition(topic, number) for topic, count in self.topics.items() for number in range(count)
        ]
        await self._begin(await self.end_offsets(partitions) if latest else dict.fromkeys(partitions, 0))

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        # With records at hand nothing below gives way to other tasks.
        await asyncio.sleep(0)
        while True:
            self._check()
            if records := self._take(max_records):
                return records
            if await self._is_there_news():
                await self._fetch()
            elif (remaining_s := deadline - loop.time()) > 0:
                await self._wait(remaining_s)
            else:
                return []

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._paused |= self._positions.keys() & partitions

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._paused.difference_update(partitions)
        self._news.set()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._group_name is None:
            raise BrokerError("A reader without a consumer group has no offsets to commit: give it a group.")
        ours = {at: offset for at, offset in offsets.items() if at in self._positions}
        if lost := offsets.keys() - ours.keys():
            names = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(lost))
            log.warning(
                "The offsets of %s are not committed, since a rebalance took them: their new owner reads on.",
                names,
            )
        if ours:
            await self._storage.database.run(self._storage.offsets.commit, self._group_name, ours)

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        if self._group_name is None:
            return dict.fromkeys(partitions)
        return await self._storage.database.run(self._storage.offsets.committed, self._group_name, partitions)

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        bounds = await self._storage.database.run(self._storage.topics.bounds, partitions)
        return {at: bound.first for at, bound in bounds.items()}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        bounds = await self._storage.database.run(self._storage.topics.bounds, partitions)
        return {at: bound.next for at, bound in bounds.items()}

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        for at, offset in offsets.items():
            if at in self._positions:
                self._positions[at] = offset
                self._fetched.pop(at, None)
        self._news.set()

    async def close(self) -> None:
        group, self._group = self._group, None
        self._storage.unwatch(self._news)
        self._failure = self._failure or BrokerError("This consumer is closed: ask the broker for a new one.")
        self._forget()
        if group is not None:
            await group.leave(self)

    async def revoke(self) -> None:
        """Hand over: await the listener, then forget the assignment."""
        self._settled = False
        try:
            if self._listener is not None and self._positions:
                await self._listener.revoked(self.assignment())
        except Exception as error:
            self._failure = error
        finally:
            self._forget()

    async def assign(self, partitions: Collection[TopicPartition]) -> None:
        try:
            committed = await self.committed(partitions)
        except BrokerError as error:
            self.evict(error)
        else:
            await self._begin({at: offset or 0 for at, offset in committed.items()})

    def evict(self, error: BrokerError) -> None:
        """Out of the group: the next poll raises ``error``."""
        self._failure = error
        self._forget()

    async def _begin(self, positions: dict[TopicPartition, int]) -> None:
        self._positions = positions
        self._paused &= positions.keys()
        try:
            if self._listener is not None:
                await self._listener.assigned(self.assignment())
        except Exception as error:
            self._failure = error
        self._settled = True
        self._news.set()

    def _forget(self) -> None:
        self._positions = {}
        self._fetched = {}
        self._settled = False
        self._news.set()

    def _check(self) -> None:
        if isinstance(self._failure, BrokerError):
            raise self._failure
        if self._failure is not None:
            raise BrokerError(
                f"The embedded broker failed to go on after a rebalance: {self._failure}."
            ) from self._failure

    def _take(self, max_records: int) -> list[Record]:
        """Records at hand; the partition that was served goes to the end of the line."""
        taken: list[Record] = []
        for at in self._readable(self._fetched):
            records, room = self._fetched.pop(at), max_records - len(taken)
            taken += records[:room]
            self._positions[at] = taken[-1].offset + 1
            if len(records) >= room:
                if len(records) > room:
                    self._fetched[at] = records[room:]
                break
        return taken

    async def _fetch(self) -> None:
        self._news.clear()
        before = self._positions
        wanted = {at: before[at] for at in self._readable(before) if at not in self._fetched}
        found = await self._storage.database.run(self._storage.log.read, wanted) if wanted else {}
        if self._positions is before:
            # Not those that were sought to elsewhere meanwhile.
            self._fetched |= {at: records for at, records in found.items() if before[at] == wanted[at]}
        if found:
            # There may be more where these come from.
            self._news.set()

    def _readable(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        return [at for at in partitions if at not in self._paused] if self._settled else []

    async def _is_there_news(self) -> bool:
        if not self._news.is_set() and self._readable(self._positions):
            await self._storage.look_for_foreign_appends()
        return self._news.is_set()

    async def _wait(self, timeout_s: float) -> None:
        if self._readable(self._positions):
            timeout_s = min(timeout_s, FOREIGN_POLL_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
