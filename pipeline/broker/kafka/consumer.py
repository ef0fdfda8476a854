"""Consuming from Kafka: joining a group or reading without one, polling, manual commits, leaving."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError

from ...config import KafkaConfig
from ...errors import BrokerError
from ..base import Listener, Record, TopicPartition
from .connection import broker_error, connection_arguments
from .rebalances import Rebalances, for_kafka
from .records import read_singly, records_of

# A fetch returns at once when there are records. But a partition that is resumed or sought while a fetch of the
# others waits for records has its turn only after that one, so this bounds how late.
FETCH_MAX_WAIT_MS: Final = 100
CLOSE_TIMEOUT_S: Final = 5.0
# Joining a group is one request, which waits for the members that hand over.
REQUEST_MARGIN_MS: Final = 5_000

Look = Callable[[Collection[KafkaPartition]], Awaitable[Mapping[KafkaPartition, int]]]

log = logging.getLogger(__name__)


class KafkaConsumer:
    """See `Consumer` in `base`."""

    def __init__(
        self, config: KafkaConfig, group: str | None, listener: Listener | None, member: str | None
    ) -> None:
        self._config = config
        self._group = group
        self._stopping: asyncio.Task[None] | None = None
        self._consumer: Any = AIOKafkaConsumer(
            **connection_arguments(config),
            group_id=group,
            group_instance_id=member if group else None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=config.rebalance_timeout_ms + REQUEST_MARGIN_MS,
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.heartbeat_ms,
            rebalance_timeout_ms=config.rebalance_timeout_ms,
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        self._rebalances = Rebalances(self._consumer, listener)

    async def join(self, topics: Collection[str]) -> None:
        """Become a member of the group; returns with the first assignment. Raises BrokerError, leaving nothing open."""
        self._consumer.subscribe(list(topics), listener=self._rebalances)
        await self._start(f"join the consumer group {self._group}")
        await self._rebalances.settled.wait()

    async def read(self, partitions: Collection[TopicPartition], *, latest: bool) -> None:
        """Read these partitions without a group. Raises BrokerError, leaving nothing open."""
        self._consumer.assign(for_kafka(partitions))
        await self._start("read topics")
        try:
            if latest:
                # Resolved here: a record that is published after this call returns must not be missed.
                await self.seek(await self.end_offsets(partitions))
            await self._rebalances.on_partitions_assigned(partitions)
        except BaseException:
            await self.close()
            raise

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        # aiokafka does not give way to other tasks while it has records at hand.
        await asyncio.sleep(0)
        try:
            if not await self._is_settled(timeout_ms):
                return []
            if self._group is None:
                await self._read_added()
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
            for at, of in fetched.items():
                self._rebalances.positions[at] = of[-1].offset + 1
            return records_of(fetched)
        except UnicodeDecodeError:
            return await self._poll_singly(max_records)
        except (KafkaError, ConsumerStoppedError) as error:
            raise broker_error(error, self._config, "poll for records") from error

    def assignment(self) -> frozenset[TopicPartition]:
        return self._rebalances.assigned

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        ours = self._rebalances.assigned.intersection(partitions)
        self._rebalances.paused |= ours
        self._consumer.pause(*for_kafka(ours))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._rebalances.paused.difference_update(partitions)
        self._consumer.resume(*for_kafka(self._rebalances.assigned.intersection(partitions)))

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._group is None:
            raise BrokerError("A reader without a consumer group has no offsets to commit: give it a group.")
        ours = {
            KafkaPartition(*at): offset for at, offset in offsets.items() if at in self._rebalances.assigned
        }
        if len(ours) < len(offsets):
            _log_lost(offsets.keys() - self._rebalances.assigned)
        try:
            if ours:
                await self._consumer.commit(ours)
        except (CommitFailedError, IllegalStateError):
            _log_lost(ours)
        except KafkaError as error:
            raise broker_error(error, self._config, f"commit offsets of the group {self._group}") from error

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        if self._group is None:
            return dict.fromkeys(partitions)
        try:
            offsets = await asyncio.gather(*map(self._consumer.committed, for_kafka(partitions)))
        except KafkaError as error:
            raise broker_error(error, self._config, f"look at offsets of the group {self._group}") from error
        return dict(zip(partitions, offsets, strict=True))

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._bounds(self._consumer.beginning_offsets, partitions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._bounds(self._consumer.end_offsets, partitions)

    async def _bounds(self, look: Look, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            bounds = await look(for_kafka(partitions))
        except KafkaError as error:
            raise broker_error(error, self._config, "look at the bounds of partitions") from error
        return {TopicPartition(*at): offset for at, offset in bounds.items()}

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        assigned = self._consumer.assignment()
        for at, offset in offsets.items():
            if at in assigned:
                self._consumer.seek(KafkaPartition(*at), offset)
                self._rebalances.positions[at] = offset

    async def close(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(_stop(self._consumer))
        await asyncio.wait([self._stopping])

    async def _start(self, doing: str) -> None:
        try:
            await self._consumer.start()
            # Its tasks must have begun: when stopped before, it raises CancelledError and leaves connections open.
            await asyncio.sleep(0)
        except BaseException as error:
            # Without this it stays a half-joined member, and warns that it was not closed.
            await self.close()
            if isinstance(error, KafkaError):
                raise broker_error(error, self._config, doing) from error
            raise

    async def _read_added(self) -> None:
        """Read partitions that were added to the topics, from their beginning; a group shares them out by itself."""
        assigned = self._rebalances.assigned
        counts = {topic: self._consumer.partitions_for_topic(topic) or () for topic, _ in assigned}
        added = {TopicPartition(topic, number) for topic, of in counts.items() for number in of} - assigned
        if added:
            self._consumer.assign(for_kafka(assigned | added))
            await self.seek(self._rebalances.positions)
            await self._rebalances.on_partitions_assigned(assigned | added)

    async def _poll_singly(self, max_records: int) -> list[Record]:
        """Poll past a record that aiokafka cannot read; with the error it also lost what other partitions had."""
        assigned, positions = self._rebalances.assigned, self._rebalances.positions
        untouched = assigned - positions.keys()
        begins = await self._consumer.beginning_offsets(for_kafka(untouched))
        for at, offset in (await self.committed(untouched)).items():
            positions[at] = begins[KafkaPartition(*at)] if offset is None else offset
        await self.seek({at: positions[at] for at in assigned})
        records = await read_singly(
            self._consumer, for_kafka(assigned - self._rebalances.paused), max_records
        )
        positions.update({TopicPartition(of.topic, of.partition): of.offset + 1 for of in records})
        return records

    async def _is_settled(self, timeout_ms: int) -> bool:
        """Whether no rebalance is under way, or ends within the time: aiokafka's own poll waits for its end."""
        settled = self._rebalances.settled
        if not settled.is_set():
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    await settled.wait()
            except TimeoutError:
                pass
        if self._rebalances.failure is not None:
            raise broker_error(self._rebalances.failure, self._config, "go on after a rebalance")
        return settled.is_set()


async def _stop(consumer: Any) -> None:
    """Leave the group and disconnect, also with the broker gone."""
    stopping = asyncio.create_task(consumer.stop())
    # Leaving waits for Kafka's answer, which a drain cannot do for as long as one that is down takes.
    await asyncio.wait([stopping], timeout=CLOSE_TIMEOUT_S)
    stopping.cancel()
    # Its fetcher waits for a fetch that it has itself cancelled: then stop() ends as if cancelled, connections open.
    await asyncio.gather(stopping, return_exceptions=True)
    await consumer._client.close()


def _log_lost(partitions: Iterable[tuple[str, int]]) -> None:
    names = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(partitions))
    log.warning(
        "Offsets of %s are not committed, since a rebalance took them: their owner reads again from the last.",
        names,
    )
