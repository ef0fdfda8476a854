"""One request to the engine."""

import math
from typing import NamedTuple

from ...schemas.messages import Request


class Job(NamedTuple):
    """``expires`` is in seconds of the engine's clock; without a model the task's default one answers."""

    task: str
    request: Request
    model: str | None = None
    tenant: str = ""
    expires: float = math.inf
    priority: int = 1
