"""What the engine answers."""

from msgspec import Struct

from ...schemas.messages import BatchInfo, CacheStatus, Timings


class EngineAnswer(Struct, frozen=True):
    """The answer to a job. ``output`` is the JSON of the task's output, ``release`` that of the `ModelEntry`."""

    output: bytes
    model: str
    version: str
    cache: CacheStatus
    timings: Timings
    batch: BatchInfo | None
    release: str = ""
