"""Announces a worker on the topic of members, and reads there what the others have."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from ...schemas.codec import DecodeError
from ...schemas.members import MAX_ANNOUNCEMENT_BYTES, Member, decode_member
from ..broker.base import Broker, Consumer, Message, Record, TopicSpec
from ..errors import BrokerError
from .members import ANNOUNCED_EVERY_S, Members

log = logging.getLogger(__name__)

POLL_RECORDS: Final = 500
POLL_MS: Final = 500

PAUSE_S: Final = 0.25
"""Between two polls: those of an embedded broker are woken by each record of any topic."""

AGAIN_S: Final = 60.0
"""After an error of the topic. Without it the worker serves on: a request for a model that it lacks then meets
another member by chance only."""


class Announcer:
    """Keeps `Members` up to date. Its `run` stands in the background of a worker.

    Args:
        spec: of the topic of members.
        who: the worker's name and group.
        has: the names of the models and versions that this worker answers for now.
        reads: the partitions of the request topic that it reads now.
    """

    def __init__(
        self,
        broker: Broker,
        spec: TopicSpec,
        who: tuple[str, str],
        has: Callable[[], Collection[str]],
        reads: Callable[[], Collection[int]],
    ) -> None:
        self._name = who[0]
        self._group = who[1]
        self.members = Members(self._group)
        self._broker = broker
        self._spec = spec
        self._has = has
        self._reads = reads
        self._told: list[str] = []
        self._last: Member | None = None
        self._last_at = 0.0

    async def run(self) -> None:
        """Return never. A topic that cannot be made, read or written is logged, and tried again."""
        while True:
            try:
                await self._follow()
            except BrokerError as error:
                log.warning(
                    "The members of the group are not known, since the topic %s cannot be used: %s Requests for "
                    "models that only some members have may fail.",
                    self._spec.name,
                    error,
                )
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        await self._broker.ensure_topics([self._spec])
        consumer = await self._broker.consume([self._spec.name], start="earliest")
        try:
            while True:
                await self._announce()
                records = await consumer.poll(POLL_RECORDS, POLL_MS)
                self._take(records)
                self._tell()
                await asyncio.sleep(PAUSE_S if len(records) < POLL_RECORDS else 0)
        finally:
            self._leave()
            await _close(consumer)

    async def _announce(self) -> None:
        now = time.monotonic()
        member = self._announcement()
        if member == self._last and now - self._last_at < ANNOUNCED_EVERY_S:
            return
        await self._broker.publish(self._message(member))
        self._last = member
        self._last_at = now

    def _announcement(self) -> Member:
        """What this worker has, as much as fits: names that do not are left out, and such requests go by chance."""
        member = Member(self._name, self._group, sorted(self._has()), sorted(self._reads()))
        size = len(msgspec.json.encode(member))
        if size <= MAX_ANNOUNCEMENT_BYTES:
            return member
        kept = len(member.models) * MAX_ANNOUNCEMENT_BYTES // (2 * size)
        return msgspec.structs.replace(member, models=member.models[:kept])

    def _leave(self) -> None:
        """Tell the others at once that this worker stops; the broker stores it when it closes."""
        if self._last is not None:
            leaving = msgspec.structs.replace(self._last, models=[], partitions=[], leaves=True)
            told = self._broker.publish(self._message(leaving))
            told.add_done_callback(_retrieve)
            self._last = None

    def _message(self, member: Member) -> Message:
        return Message(self._spec.name, msgspec.json.encode(member), self._name.encode())

    def _take(self, records: Sequence[Record]) -> None:
        now_s = time.time()
        for record in records:
            try:
                member = decode_member(record.value)
            except DecodeError:
                continue  # anyone with the right to write can write anything
            self.members.hear(member, max(0.0, now_s - record.timestamp_ms / 1e3))

    def _tell(self) -> None:
        """Log it when members come or go."""
        living = sorted(self.members.living)
        if living != self._told:
            self._told = living
            log.info("The group %s has %d members now.", self._group, len(living))


def _retrieve(told: "asyncio.Future[None]") -> None:
    if not told.cancelled():
        told.exception()  # the others notice by the silence


async def _close(consumer: Consumer) -> None:
    try:
        await consumer.close()
    except BrokerError as error:
        log.debug("The reader of the members could not be closed: %s", error)
