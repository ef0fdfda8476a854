"""One request to the engine."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

NO_OPTIONS: Final[Mapping[str, Any]] = {}


class Job(NamedTuple):
    """``expires`` is in seconds of the engine's clock; without a model the default one answers."""

    text: str
    model: str | None = None
    options: Mapping[str, Any] = NO_OPTIONS
    tenant: str = ""
    expires: float = math.inf
    priority: int = 1
