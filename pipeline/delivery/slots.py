"""A record in the window, and the queue of a partition in which it stands."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from ..broker.base import Record
from .outcome import Outcome


@dataclass(eq=False, slots=True)
class Slot:
    """One record, from its admission until its offset is part of the committed prefix.

    Unfinished records of one key form a chain by ``next_of_key``. A slot is ``blocked`` until the
    record before it in the chain was published. ``acknowledgement`` is that of the last message that
    was published for it, until it has come.
    """

    queue: "PartitionQueue"
    offset: int
    key: bytes | None
    size: int
    next_of_key: "Slot | None" = None
    blocked: bool = False
    outcome: Outcome | None = None
    acknowledgement: "asyncio.Future[None] | None" = None
    unacknowledged: int = 0
    done: bool = False
    task: "asyncio.Task[None] | None" = None

    def failed_for_good(self) -> BaseException | None:
        """The error of the last message, if nothing replaces it; None as long as there is none."""
        last, outcome = self.acknowledgement, self.outcome
        if last is None or not last.done() or last.cancelled():
            return None
        error = last.exception()
        return None if error is None or (outcome is not None and outcome.mends(error)) else error


@dataclass(eq=False, slots=True)
class PartitionQueue:
    """The slots of one partition in offset order.

    Attributes:
        unacknowledged_of_key: the last record of each key for which something was published that is
            not durable yet.
        read_to: the offset behind all that was read; also behind what is never returned, such as
            the control records of transactions.
        given: the offset that was given to be committed last.
        forgotten: another worker owns the partition now.
    """

    slots: deque[Slot] = field(default_factory=deque)
    last_of_key: dict[bytes, Slot] = field(default_factory=dict)
    unacknowledged_of_key: dict[bytes, Slot] = field(default_factory=dict)
    read_to: int = -1
    given: int = -1
    forgotten: bool = False

    def is_behind(self, offset: int) -> bool:
        """Whether a record with this offset cannot follow in the partition as it was."""
        return offset < self.given or (bool(self.slots) and offset <= self.slots[-1].offset)

    @property
    def span(self) -> int:
        return self.slots[-1].offset - self.slots[0].offset + 1 if self.slots else 0


def size_of(record: Record) -> int:
    """The bytes of a record that its sender chooses."""
    size = len(record.value or b"") + len(record.key or b"")
    for name, content in record.headers:
        size += len(name) + len(content)
    return size
