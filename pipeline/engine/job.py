"""One request to the engine."""

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ...schemas.messages import Request


class Job(Struct, frozen=True):
    """``expires`` is in seconds of the engine's clock; without a model the task's default one answers.

    ``waited_s`` is how long the request has waited whose place in the queue this one takes. ``told`` are the
    first pieces of its answer, if an earlier worker has told them: this one goes on behind them. ``told_by`` is the
    version of the model that made what was told: another one would go on with another answer. ``id`` is that of
    its reply.

    ``key`` is that of the request's record, by which a rollout chooses the version that answers; ``release`` is the
    version that took the request before. ``compares``: the answer is compared, and never sent.
    """

    task: str
    request: Request
    model: str | None = None
    tenant: str = ""
    expires: float = math.inf
    priority: int = 1
    waited_s: float = 0.0
    told: Sequence[Any] = ()
    told_by: str = ""
    id: str = ""
    key: bytes = b""
    release: str = ""
    compares: bool = False
