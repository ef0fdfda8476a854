"""The outcome of a record: its terminal event, or its way into a retry topic."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from ..broker.base import Message
from ..errors import NotWritable, ReplyTooLarge


class Outcome(Struct, frozen=True):
    """The messages that must be durable before the offset of a record may be committed.

    Attributes:
        messages: published at once, in this order.
        if_too_large: makes the outcome that replaces this one if the broker refuses the size of
            a message.
        if_not_writable: makes the outcome that replaces this one if the topic of a message is gone
            or does not take it; without it, that ends the worker.
        then: the outcome that follows when all ``messages`` are durable, e.g. the dead letter after
            the Failure.
    """

    messages: tuple[Message, ...]
    if_too_large: Callable[[], "Outcome"] | None = None
    then: "Outcome | None" = None
    if_not_writable: Callable[[NotWritable], "Outcome"] | None = None

    def mends(self, error: BaseException) -> bool:
        """Whether another outcome replaces this one after a message failed with this error."""
        if isinstance(error, ReplyTooLarge):
            return self.if_too_large is not None
        return isinstance(error, NotWritable) and self.if_not_writable is not None

    def instead(self, error: BaseException) -> "Outcome | None":
        """The outcome that replaces this one; None if the error is for good."""
        if isinstance(error, ReplyTooLarge) and self.if_too_large is not None:
            smaller = self.if_too_large()
            return smaller if smaller.then else replace(smaller, then=self.then)
        if isinstance(error, NotWritable) and self.if_not_writable is not None:
            return self.then or self.if_not_writable(error)
        return None


class PendingOutcome(Awaitable[Outcome], Protocol):
    """An outcome that is not known yet. The caller must await or close it."""

    def close(self) -> None: ...
