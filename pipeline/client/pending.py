"""A request that waits for its reply."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ...schemas.messages import Chunk, Failure, Result
from ..broker.base import Message


def ignored(chunk: Chunk) -> None:
    """The chunks of a request whose answer is wanted whole."""


class Pending(NamedTuple):
    """A request without a reply so far. ``caller_id`` is the id of the caller, not of the record."""

    caller_id: str
    reply: asyncio.Future[Result | Failure]
    published: asyncio.Future[None]
    timer: asyncio.TimerHandle | None
    chunks: Callable[[Chunk], None]
    cancel: Callable[..., Message] | None
