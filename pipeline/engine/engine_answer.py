"""What the engine answers."""

from typing import NamedTuple

from ...schemas.messages import BatchInfo, CacheStatus, Timings


class EngineAnswer(NamedTuple):
    """The answer to a job. ``output`` is the JSON of the task's output."""

    output: bytes
    model: str
    version: str
    cache: CacheStatus
    timings: Timings
    batch: BatchInfo | None
