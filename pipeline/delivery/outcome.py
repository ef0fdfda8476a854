"""The outcome of a record: its terminal event, or its next step through a retry topic."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from ..broker.base import Message


class Outcome(NamedTuple):
    """What must be durable before the offset of a record may be committed.

    ``if_too_large`` gives what to publish instead when the broker refuses the size of a message; ``then`` is published
    once the messages are durable.
    """

    messages: tuple[Message, ...]
    if_too_large: Callable[[], "Outcome"] | None = None
    then: "Outcome | None" = None


class PendingOutcome(Awaitable[Outcome], Protocol):
    """An outcome that is not known yet. The caller must await or close it."""

    def close(self) -> None: ...
