"""The consumer on Kafka: joining a group or reading without one, polling, commits, leaving."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
)

from ...config import KafkaConfig
from ..base import Listener, Record, TopicPartition
from ..refusals import log_lost, no_group
from ..starts import log_starts
from .connection import broker_error, connection_arguments
from .fetch_wait import SHORT_WAIT_MS, FetchWait
from .fetching import BoundedConsumer
from .membership import Membership
from .offset_look_ups import OffsetLookUps
from .reaching import bounded, look_up_s
from .rebalances import Rebalances, for_kafka

CLOSE_TIMEOUT_S: Final = 5.0
TELL_START_S: Final = 3.0
# Joining a group is one request, which takes as long as the other members need to hand over.
REQUEST_MARGIN_MS: Final = 5_000

log = logging.getLogger(__name__)


class KafkaConsumer:
    """See `Consumer` in `base`."""

    def __init__(
        self, config: KafkaConfig, group: str | None, listener: Listener | None, member: str | None
    ) -> None:
        self._config = config
        self._group = group
        self._membership = Membership(group, member)
        self._stopping: asyncio.Task[None] | None = None
        self._consumer: Any = BoundedConsumer(
            **connection_arguments(config),
            max_batch_bytes=config.max_batch_bytes,
            group_id=group,
            group_instance_id=member if group else None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=SHORT_WAIT_MS,
            request_timeout_ms=config.rebalance_timeout_ms + REQUEST_MARGIN_MS,
            session_timeout_ms=config.session_timeout_ms,
            heartbeat_interval_ms=config.heartbeat_ms,
            rebalance_timeout_ms=config.rebalance_timeout_ms,
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        self._rebalances = Rebalances(self._consumer, listener, self._tell_start)
        self._look_ups = OffsetLookUps(self._consumer, config)
        self._fetch_wait = FetchWait(self._consumer)

    async def join(self, topics: Collection[str]) -> None:
        """Join the group; returns with the first assignment. Leaves nothing open if it raises BrokerError."""
        self._consumer.subscribe(list(topics), listener=self._rebalances)
        # The other members first hand over, and one that is dead is waited for.
        limit_s = (self._config.connect_timeout_ms + 2 * self._config.rebalance_timeout_ms) / 1e3
        await self._start(f"join the consumer group {self._group}", limit_s)
        await self._rebalances.settled.wait()

    async def read(self, partitions: Collection[TopicPartition], *, latest: bool) -> None:
        """Read these partitions without a group. Leaves nothing open if it raises BrokerError."""
        self._consumer.assign(for_kafka(partitions))
        await self._start("read topics", self._config.connect_timeout_ms / 1e3)
        try:
            if latest:
                # Resolved here: a record published after this call returns must be read.
                await self.seek(await self.end_offsets(partitions))
            await self._rebalances.on_partitions_assigned(partitions)
        except BaseException:
            await self.close()
            raise

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        # Let other tasks run: aiokafka does not while it has fetched records.
        await asyncio.sleep(0)
        try:
            if not await self._wait_settled(timeout_ms):
                return []
            if self._group is None:
                await self._read_added()
            fetched = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
            if fetched:
                # aiokafka returns the first records of an assignment also while our listener is still told of it.
                await self._rebalances.settled.wait()
            self._fetch_wait.polled(busy=bool(fetched or self._rebalances.paused))
            for at, records in fetched.items():
                self._rebalances.positions[at] = records[-1].offset + 1
            return list(chain.from_iterable(fetched.values()))
        except (KafkaError, ConsumerStoppedError) as error:
            taken = self._membership.explains(error)
            raise taken or broker_error(error, self._config, "poll for records") from error

    def assignment(self) -> frozenset[TopicPartition]:
        return self._rebalances.assigned

    def positions(self) -> dict[TopicPartition, int]:
        subscription = self._consumer._subscription.subscription
        assignment = subscription and subscription.assignment
        if assignment is None or not assignment.active:
            return {}
        states = {at: assignment.state_value(at) for at in self._rebalances.assigned & assignment.tps}
        return {at: state.position for at, state in states.items() if state.has_valid_position}

    def generation(self) -> int:
        return self._rebalances.generation

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        ours = self._rebalances.assigned.intersection(partitions)
        self._rebalances.paused |= ours
        self._consumer.pause(*for_kafka(ours))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._rebalances.paused.difference_update(partitions)
        self._consumer.resume(*for_kafka(self._rebalances.assigned.intersection(partitions)))

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self._group is None:
            raise no_group()
        ours = {
            KafkaPartition(*at): offset for at, offset in offsets.items() if at in self._rebalances.assigned
        }
        if len(ours) < len(offsets):
            log_lost(offsets.keys() - self._rebalances.assigned)
        try:
            if ours:
                await self._consumer.commit(ours)
        except (CommitFailedError, IllegalStateError) as error:
            log_lost(ours)
            if "UnknownMemberId" in f"{error.__cause__!r} {error.__context__!r}":
                self._membership.was_unknown()
        except KafkaError as error:
            raise broker_error(error, self._config, f"commit offsets of the group {self._group}") from error

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        if self._group is None:
            return dict.fromkeys(partitions)
        doing = f"read offsets of the group {self._group}"
        try:
            async with bounded(self._config, self._consumer._client, doing, look_up_s(self._config)):
                offsets = await asyncio.gather(*map(self._consumer.committed, for_kafka(partitions)))
        except KafkaError as error:
            raise broker_error(error, self._config, doing) from error
        return dict(zip(partitions, offsets, strict=True))

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._look_ups.begins(partitions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._look_ups.ends(partitions)

    async def offsets_at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return await self._look_ups.at(times_ms)

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._fetch_wait.polled(busy=True)
        for at, offset in offsets.items():
            if at in self._consumer.assignment():
                self._consumer.seek(KafkaPartition(*at), offset)
                self._rebalances.positions[at] = offset

    async def close(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(_stop(self._consumer))
        await asyncio.wait([self._stopping])

    async def _start(self, doing: str, limit_s: float) -> None:
        try:
            async with bounded(self._config, self._consumer._client, doing, limit_s):
                await self._consumer.start()
            # aiokafka's tasks must have begun: if stopped before that, it raises CancelledError and
            # leaves connections open.
            await asyncio.sleep(0)
        except BaseException as error:
            # Otherwise the consumer stays in the group half-joined, and aiokafka warns that it was
            # not closed.
            await self.close()
            if isinstance(error, KafkaError):
                raise broker_error(error, self._config, doing) from error
            raise

    async def _tell_start(self, partitions: Collection[TopicPartition]) -> None:
        """Log what the group begins with, unless the broker is slow to tell."""
        if self._group is None or not partitions:
            return
        try:
            async with asyncio.timeout(TELL_START_S):
                committed = await self.committed(partitions)
                begins = await self.begin_offsets(partitions)
                ends = await self.end_offsets(partitions)
        except Exception as error:  # only the sentence is lost
            log.debug(
                "The offsets of the group %s could not be compared with its topics: %s", self._group, error
            )
        else:
            log_starts(self._group, committed, begins, ends)

    async def _read_added(self) -> None:
        """Also read partitions that were added to the topics; in a group, Kafka assigns them."""
        assigned = self._rebalances.assigned
        counts = {topic: self._consumer.partitions_for_topic(topic) or () for topic, _ in assigned}
        added = {
            TopicPartition(topic, number) for topic, numbers in counts.items() for number in numbers
        } - assigned
        if added:
            self._consumer.assign(for_kafka(assigned | added))
            await self.seek(self._rebalances.positions)
            await self._rebalances.on_partitions_assigned(assigned | added)

    async def _wait_settled(self, timeout_ms: int) -> bool:
        """Whether no rebalance is running; waits at most ``timeout_ms`` for its end."""
        # aiokafka's own poll would wait without a limit.
        settled = self._rebalances.settled
        if not settled.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_ms / 1000):
                    await settled.wait()
        if self._rebalances.failure is not None:
            raise broker_error(self._rebalances.failure, self._config, "continue after a rebalance")
        return settled.is_set()


async def _stop(consumer: Any) -> None:
    """Leave the group and disconnect, also if the broker is down."""
    stopping = asyncio.create_task(consumer.stop())
    # Leaving waits for Kafka's response. If the broker is down, that wait would outlast the time
    # for a drain.
    await asyncio.wait([stopping], timeout=CLOSE_TIMEOUT_S)
    stopping.cancel()
    # aiokafka's fetcher may wait for a fetch that it has cancelled itself: then stop() raises
    # CancelledError and leaves connections open, so they are closed here.
    await asyncio.gather(stopping, return_exceptions=True)
    await consumer._client.close()
