"""The outcome of a record: its terminal event, or its way into a retry topic."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from ..broker.base import Message


class Outcome(NamedTuple):
    """The messages that must be durable before the offset of a record may be committed.

    Attributes:
        messages: published at once, in this order.
        if_too_large: makes the outcome that replaces this one if the broker refuses the size of
            a message.
        then: the outcome that follows when all ``messages`` are durable, e.g. the dead letter after
            the Failure.
    """

    messages: tuple[Message, ...]
    if_too_large: Callable[[], "Outcome"] | None = None
    then: "Outcome | None" = None


class PendingOutcome(Awaitable[Outcome], Protocol):
    """An outcome that is not known yet. The caller must await or close it."""

    def close(self) -> None: ...
