"""A request that waits for its reply."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from ...schemas.messages import Failure, Result
from ..broker.base import Message
from .reading import Reading


class Pending(NamedTuple):
    """A request without a reply so far. ``caller_id`` is the id of the caller, not of the record.

    ``reading``: of its chunks; None if the answer is wanted whole.
    """

    caller_id: str
    reply: asyncio.Future[Result | Failure]
    published: asyncio.Future[None]
    timer: asyncio.TimerHandle | None
    reading: Reading | None
    cancel: Callable[..., Message] | None
