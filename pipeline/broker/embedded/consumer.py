"""The consumer of an embedded broker: polling, positions, commits."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from ...errors import BrokerError
from ..base import Record, TopicPartition
from ..refusals import log_lost, no_group
from .database import Database
from .group import Group, GroupMember
from .log import Log

OTHER_PROCESSES_POLL_S: Final = 0.01
"""How often a waiting consumer checks for records that another process has appended."""


class EmbeddedConsumer:
    """See `Consumer` in `base`."""

    def __init__(self, database: Database, log: Log, member: GroupMember, group: Group | None) -> None:
        self._database = database
        self._log = log
        self._member = member
        self._group = group
        database.watch(member.changed)

    async def start(self, *, latest: bool) -> None:
        """Join the group, or without one begin at the earliest or the latest offset of all partitions."""
        if self._group is not None:
            await self._group.join(self._member)
            return
        topics = self._member.topics.items()
        partitions = [TopicPartition(topic, number) for topic, count in topics for number in range(count)]
        await self._member.assign(
            await self.end_offsets(partitions) if latest else dict.fromkeys(partitions, 0)
        )

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        # Let other tasks run: with records already fetched, nothing below waits.
        await asyncio.sleep(0)
        while True:
            self._check()
            if records := self._take(max_records):
                return records
            if await self._may_have_records():
                await self._fetch()
            elif (remaining_s := deadline - loop.time()) > 0:
                await self._wait(remaining_s)
            else:
                return []

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._member.positions)

    def positions(self) -> dict[TopicPartition, int]:
        return dict(self._member.positions)

    def generation(self) -> int:
        return 0 if self._group is None else self._group.generation

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._member.paused |= self._member.positions.keys() & partitions

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._member.paused.difference_update(partitions)
        self._member.changed.set()

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._group is None:
            raise no_group()
        ours = {at: offset for at, offset in offsets.items() if at in self._member.positions}
        if len(ours) < len(offsets):
            log_lost(offsets.keys() - ours.keys())
        if ours:
            await self._group.commit(ours)

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        return await self._group.committed(partitions) if self._group else dict.fromkeys(partitions)

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        bounds = await self._database.run(self._log.topics.bounds, partitions)
        return {at: bound.first for at, bound in bounds.items()}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        bounds = await self._database.run(self._log.topics.bounds, partitions)
        return {at: bound.next for at, bound in bounds.items()}

    async def offsets_at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return await self._database.run(self._log.offsets_at, times_ms)

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        for at, offset in offsets.items():
            if at in self._member.positions:
                self._member.positions[at] = offset
                self._member.fetched.pop(at, None)
        self._member.changed.set()

    async def close(self) -> None:
        self._database.unwatch(self._member.changed)
        closed = BrokerError("This consumer is closed: ask the broker for a new one.")
        self._member.end(self._member.failure or closed)
        if self._group is not None:
            await self._group.leave(self._member)

    def _check(self) -> None:
        failure = self._member.failure
        if isinstance(failure, BrokerError):
            raise failure
        if failure is not None:
            raise BrokerError(f"The consumer failed in a rebalance: {failure}.") from failure

    def _take(self, max_records: int) -> list[Record]:
        """Fetched records; a partition that was served goes to the end of the queue."""
        member = self._member
        taken: list[Record] = []
        for at in self._readable(member.fetched):
            records = member.fetched.pop(at)
            room = max_records - len(taken)
            taken += records[:room]
            member.positions[at] = taken[-1].offset + 1
            if len(records) > room:
                member.fetched[at] = records[room:]
            if len(records) >= room:
                break
        return taken

    async def _fetch(self) -> None:
        member = self._member
        member.changed.clear()
        before = member.positions
        wanted = {at: before[at] for at in self._readable(before) if at not in member.fetched}
        found = await self._database.run(self._log.read, wanted) if wanted else {}
        if member.positions is before:
            # Without partitions whose position a seek has changed during the read.
            member.fetched |= {at: records for at, records in found.items() if before[at] == wanted[at]}
        if found:
            # These partitions may have more records.
            member.changed.set()

    def _readable(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        member = self._member
        return [at for at in partitions if at not in member.paused] if member.settled else []

    async def _may_have_records(self) -> bool:
        changed = self._member.changed
        if not changed.is_set() and self._readable(self._member.positions):
            await self._database.check_other_processes()
        return changed.is_set()

    async def _wait(self, timeout_s: float) -> None:
        if self._readable(self._member.positions):
            timeout_s = min(timeout_s, OTHER_PROCESSES_POLL_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._member.changed.wait()
