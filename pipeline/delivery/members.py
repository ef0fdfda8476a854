"""The living members of a consumer group, as they announce themselves."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ...schemas.members import Member
from ..broker.partitioner import partition_of

ANNOUNCED_EVERY_S: Final = 10.0

LIVES_S: Final = 3 * ANNOUNCED_EVERY_S + 2.0
"""A member lives for this long after its last announcement: two may be late or lost."""

MAX_MEMBERS: Final = 500
"""At 16 kB each, 8 MB: memory must not grow with what others write to the topic."""


class _Heard(NamedTuple):
    member: Member
    models: frozenset[str]
    at: float  # seconds of the clock


class Members:
    """What the announcements of one task say. Lives on the event loop."""

    def __init__(self, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is in seconds."""
        self._group = group
        self._clock = clock
        self._heard: dict[str, _Heard] = {}

    def hear(self, member: Member, age_s: float = 0.0) -> None:
        """An announcement that was written ``age_s`` ago."""
        self._heard.pop(member.name, None)
        if member.leaves or member.group != self._group or age_s > LIVES_S:
            return
        if len(self._heard) >= MAX_MEMBERS:
            del self._heard[next(iter(self._heard))]  # the one that was heard of longest ago
        at = self._clock() - max(0.0, age_s)
        self._heard[member.name] = _Heard(member, frozenset(member.models), at)

    @property
    def _living(self) -> list[_Heard]:
        """The members of the group that were heard of in the last `LIVES_S`."""
        since = self._clock() - LIVES_S
        return [heard for heard in self._heard.values() if heard.at >= since]

    @property
    def living(self) -> list[str]:
        """The names of the living members."""
        return [heard.member.name for heard in self._living]

    def lacking(self, model: str) -> list[str]:
        """The names of the living members that cannot answer for this model or version."""
        return [heard.member.name for heard in self._living if model not in heard.models]

    def partition_for(self, model: str, key: bytes | None, partitions: int) -> int | None:
        """A partition of the request topic whose reader has the model; None if the key may choose.

        The key may choose where all members have the model, or none has, or its own partition is read by one that
        has it. Equal keys get equal partitions, so that equal texts meet one cache. ``partitions``: of the topic.
        """
        living = self._living
        having = [heard.member for heard in living if model in heard.models]
        if not having or len(having) == len(living):
            return None
        read = sorted(
            {number for member in having for number in member.partitions if 0 <= number < partitions}
        )
        if not read or (key is not None and partition_of(key, partitions) in read):
            return None
        turn = partition_of(key, len(read)) if key is not None else time.monotonic_ns() % len(read)
        return read[turn]
