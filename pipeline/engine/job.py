"""One request to the engine."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ..tasks.base import Task
from .cache.keys import content_prefix

NO_OPTIONS: Final[Mapping[str, Any]] = {}


class Job(NamedTuple):
    """``expires`` is in seconds of the engine's clock; without a model the default one answers."""

    text: str
    model: str | None = None
    options: Mapping[str, Any] = NO_OPTIONS
    tenant: str = ""
    expires: float = math.inf
    priority: int = 1


def options_of(job: Job, task: Task) -> tuple[Any, bytes]:
    """The checked options, and every part of the content key except the text.

    Raises UnknownOption or WrongType.
    """
    checked = task.options(job.options)
    return checked, content_prefix(job.tenant, task.digest, task.name, msgspec.json.encode(checked))
