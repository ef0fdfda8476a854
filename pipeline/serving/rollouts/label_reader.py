"""Reads labels while a candidate is on trial, and lets both versions answer them."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from ....schemas.codec import DecodeError, decode_request
from ....schemas.labels import decode_label
from ....schemas.messages import Request
from ....schemas.topics import Header
from ...broker.base import Broker, Consumer, Record, TopicPartition, TopicSpec
from ...delivery.arrival import header_map
from ...engine.job import Job
from ...engine.trials.comparisons import Comparisons
from ...engine.trials.trial import Trial
from ...errors import BrokerError
from .watcher import RolloutWatcher

log = logging.getLogger(__name__)

MAX_RECORDS: Final = 100
POLL_MS: Final = 500
PAUSE_S: Final = 0.1
AGAIN_S: Final = 60.0
IDLE_S: Final = 1.0
"""Between two looks for a trial."""


class LabelReader:
    """Its ``run`` stands in the background of a worker. Members of the group share the labels.

    Only labels count that were sent since the rollout began: the candidate may have been made from earlier ones.

    Args:
        spec: of the topic of labels.
        group: that reads it.
        kind: the type of the task's requests.
    """

    def __init__(
        self,
        broker: Broker,
        spec: TopicSpec,
        group: str,
        kind: type[Request],
        watcher: RolloutWatcher,
        comparisons: Comparisons,
    ) -> None:
        self._broker = broker
        self._spec = spec
        self._group = group
        self._kind = kind
        self._watcher = watcher
        self._comparisons = comparisons

    async def run(self) -> None:
        """Never return. A topic that cannot be made or read is logged, and tried again."""
        while True:
            try:
                await self._broker.ensure_topics([self._spec])
                await self._read_while_on_trial()
            except BrokerError as error:
                log.log(
                    logging.WARNING if self._watcher.trials else logging.DEBUG,
                    "Labels are not read, since the topic %s cannot be used: %s Candidates are judged without them.",
                    self._spec.name,
                    error,
                )
            await asyncio.sleep(AGAIN_S)

    async def _read_while_on_trial(self) -> None:
        while True:
            if self._watcher.trials:
                consumer = await self._broker.consume([self._spec.name], group=self._group)
                try:
                    await self._read(consumer)
                finally:
                    await consumer.close()
            await asyncio.sleep(IDLE_S)

    async def _read(self, consumer: Consumer) -> None:
        """Read until there is no trial any more."""
        known: Collection[TopicPartition] = ()
        while trials := self._watcher.trials:
            began_ms = min(map(_began_ms, trials))
            assigned = consumer.assignment()
            if assigned != known:
                known = assigned
                await _skip_to(consumer, began_ms)
            room = self._comparisons.room // len(trials)
            records = await consumer.poll(max(1, min(MAX_RECORDS, room)), POLL_MS)
            for record in records:
                self._compare(record, trials)
            if records:
                await consumer.commit(consumer.positions())
            await asyncio.sleep(PAUSE_S)

    def _compare(self, record: Record, trials: Sequence[Trial]) -> None:
        """Let both versions of each trial answer. What is no labeled request is passed over."""
        try:
            label = decode_label(record.value).label
            request = decode_request(record.value, self._kind)
        except DecodeError as error:
            log.debug("%s/%s/%s: %s", record.topic, record.partition, record.offset, error.message)
            return
        tenant = header_map(record).get(Header.TENANT, b"").decode(errors="replace")
        size = len(record.value or b"")
        for trial in trials:
            if record.timestamp_ms >= _began_ms(trial):
                name = trial.name
                job = Job(name.task, request, str(trial), tenant, key=record.key or b"")
                self._comparisons.put(trial, job, size, {}, label)


async def _skip_to(consumer: Consumer, began_ms: int) -> None:
    """Pass over the labels that are older."""
    positions = consumer.positions()
    since = await consumer.offsets_at(dict.fromkeys(consumer.assignment(), began_ms))
    later = {at: offset for at, offset in since.items() if offset > positions.get(at, 0)}
    if later:
        await consumer.seek(later)


def _began_ms(trial: Trial) -> int:
    try:
        return round(datetime.fromisoformat(trial.name.began_at).timestamp() * 1e3)
    except ValueError:
        return round(time.time() * 1e3)
