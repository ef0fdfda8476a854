"""A record in the window, and the queue of a partition in which it stands."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...schemas.topics import ANY_ORDER, Header
from ..broker.base import Headers, Message, Record
from .outcome import Outcome


@dataclass(eq=False, slots=True)
class Slot:
    """One record, from its admission until its offset is part of the committed prefix.

    Unfinished records of one key whose order matters form a chain by ``next_of_key``.

    Attributes:
        key: None also where the order of replies does not matter.
        blocked: the record before it in the chain has no outcome yet, or is blocked itself.
        silent: the outcome of the record before it in the chain was not published yet.
        chunks: gives the next part of the answer, None while there is none; set while parts are told.
        lift: lets the answer be made although its reader lags.
        saying: acknowledges a part of the answer that was published, until it is durable.
        epoch: that of the assignment by which its partition is read.
        begun: an earlier owner of the partition may have begun it.
        resumes: another worker can go on with its answer, so it is handed over, not waited for.
        left: it was handed over: it ends elsewhere.
        acknowledgement: of the last message that was published for it, until it has come.
    """

    queue: "PartitionQueue"
    offset: int
    key: bytes | None
    size: int
    next_of_key: "Slot | None" = None
    blocked: bool = False
    silent: bool = False
    chunks: Callable[[], Message | None] | None = None
    lift: Callable[[], None] | None = None
    saying: "asyncio.Future[None] | None" = None
    outcome: Outcome | None = None
    acknowledgement: "asyncio.Future[None] | None" = None
    unacknowledged: int = 0
    done: bool = False
    epoch: int = 0
    begun: bool = False
    resumes: bool = False
    left: bool = False
    task: "asyncio.Task[None] | None" = None

    @property
    def keeps_waiting(self) -> bool:
        """Whether a worker that stops has to wait for it."""
        if not self.left:
            return not self.done
        return self.saying is not None or (self.task is not None and not self.task.done())

    def say(self) -> None:
        """More of the answer is known: publish it as soon as its turn has come."""
        self.queue.say(self)


@dataclass(eq=False, slots=True)
class PartitionQueue:
    """The slots of one partition in offset order.

    Attributes:
        say: publishes the next part of a slot's answer.
        last_of_key: the last record of each key whose outcome was not published yet.
        unacknowledged_of_key: the last record of each key for which something was published that is
            not durable yet.
        read_to: the offset behind all that was read; also behind what is never returned, such as
            the control records of transactions.
        given: the offset that was given to be committed last.
        forgotten: another worker owns the partition now.
    """

    say: Callable[[Slot], None]
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

    def append(self, record: Record) -> Slot:
        """A slot for the record, behind the earlier one of its key if their order matters."""
        key = record.key
        if key is not None and record.headers and not order_matters(record.headers):
            key = None
        slot = Slot(self, record.offset, key, size_of(record))
        self.slots.append(slot)
        if key is not None:
            previous = self.last_of_key.get(key)
            if previous is not None:
                previous.next_of_key = slot
                slot.blocked = previous.blocked or previous.outcome is None
                slot.silent = True
            self.last_of_key[key] = slot
        return slot


def order_matters(headers: Headers) -> bool:
    """Whether replies keep the order of the requests of a key: `Arrival.keeps_order`, before headers are parsed."""
    for name, value in reversed(headers):
        if name == Header.ORDER and value:
            return value != ANY_ORDER
    return True


def size_of(record: Record) -> int:
    """The bytes of a record that its sender chooses."""
    size = len(record.value or b"") + len(record.key or b"")
    for name, content in record.headers:
        size += len(name) + len(content)
    return size
