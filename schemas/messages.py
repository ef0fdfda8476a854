"""The messages on the topics. Additive inside v1: new fields are optional, unknown fields are ignored."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType


class Request(Struct, frozen=True, omit_defaults=True):
    """One request, as on a request topic. ``{"text": "I was charged twice"}`` is a whole one.

    Attributes:
        id: chosen by the caller; without it the reply carries topic/partition/offset.
        text: what the model reads.
        task: must be a task that the worker of this topic serves; normally left out.
        options: options of the task, see its ``…Options``.
    """

    text: str | UnsetType = UNSET
    id: str | None = None
    task: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class Timings(Struct, frozen=True):
    """Milliseconds that a request spent in each stage of the worker."""

    prepare_ms: float = 0.0
    wait_ms: float = 0.0
    run_ms: float = 0.0
    finish_ms: float = 0.0
    total_ms: float = 0.0


class BatchInfo(Struct, frozen=True):
    """The batch that a request ran in (the last one, when its text took several rows)."""

    rows: int
    tokens: int
    padded_tokens: int


CacheStatus = Literal["miss", "memory", "disk", "flight", "off"]
"""Who answered: the device, a cache tier, another request in flight, or the device with the cache switched off."""


class Result(Struct, frozen=True, tag_field="type", tag="result"):
    """The answer to a request; ``output`` is the JSON of the task's output type."""

    id: str
    task: str
    model: str
    version: str
    output: Raw
    cache: CacheStatus = "miss"
    timings: Timings = Timings()
    batch: BatchInfo | None = None
    seq: int = 0
    v: int = 1


class Chunk(Struct, frozen=True, tag_field="type", tag="chunk"):
    """One piece of a streamed answer; ``seq`` counts from 0, the Result that ends it carries the next one."""

    id: str
    seq: int
    task: str
    model: str
    version: str
    output: Raw
    v: int = 1


class Failure(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="failure"):
    """A request that ended without an answer: a stable ``code`` and one sentence that says what to do."""

    id: str
    task: str
    code: str
    message: str
    retryable: bool = False
    retry_after_ms: int | None = None
    model: str | None = None
    version: str | None = None
    seq: int = 0
    v: int = 1


Reply = Result | Chunk | Failure


class TriageOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a triage request.

    Attributes:
        threshold: below this confidence the ticket needs a human (0 to 1); the taxonomy's own by default.
        runners_up: how many further categories to name.
    """

    threshold: float | None = None
    runners_up: int = 2


class Category(Struct, frozen=True):
    """A category and its confidence (0 to 1; the confidences of all categories add up to 1)."""

    category: str
    confidence: float


class TriageOutput(Struct, frozen=True):
    """Where a ticket goes. ``windows`` counts the overlapping pieces that a long text was read in."""

    category: str
    confidence: float
    priority: str
    route: str
    needs_human: bool
    runners_up: list[Category] = []
    windows: int = 1
