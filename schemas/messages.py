"""The messages on the topics. Additive inside v1: new fields are optional, unknown fields are ignored."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType


class Request(Struct, frozen=True, omit_defaults=True):
    """A request on a request topic. ``{"text": "I was charged twice"}`` is a complete one.

    Attributes:
        id: chosen by the caller; without it the id of the reply is topic/partition/offset.
        text: the input of the model.
        task: a task that the worker of this topic serves; normally left out.
        options: options of the task, see its ``…Options``.
        stream: send the answer also in pieces while it is being made, see `Chunk`.
        final: false for a partial, e.g. a sentence that still grows: a newer request may supersede it.
        supersedes: the id of an earlier request of the same tenant and key that is not final. Where that one
            still waits for the device when this one is read, it ends as ``superseded``, and this one takes its place.
    """

    text: str | UnsetType = UNSET
    id: str | None = None
    task: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    stream: bool = False
    final: bool = True
    supersedes: str | None = None


class Timings(Struct, frozen=True):
    """Milliseconds that a request spent in each stage of the worker.

    ``first_ms``, from its arrival to the first piece of its answer, is there only if the answer has pieces.
    """

    prepare_ms: float = 0.0
    wait_ms: float = 0.0
    run_ms: float = 0.0
    finish_ms: float = 0.0
    total_ms: float = 0.0
    first_ms: float | UnsetType = UNSET


class BatchInfo(Struct, frozen=True):
    """The batch that a request ran in; the last one, if it had several rows or steps.

    ``steps``, the number of steps that all of its rows took, is there only if there were more than its rows.
    """

    rows: int
    tokens: int
    padded_tokens: int
    steps: int | UnsetType = UNSET


CacheStatus = Literal["miss", "memory", "disk", "flight", "off"]
"""Source of the answer: ``miss`` is the device, ``memory`` and ``disk`` are cache tiers, ``flight`` is an equal
request in progress, ``off`` is the device with the cache switched off.
"""


class Result(Struct, frozen=True, tag_field="type", tag="result"):
    """The answer to a request; ``output`` is the JSON of the task's output type. ``epoch``: see `Chunk`.

    Attributes:
        version: changes whenever the answer of the model to the same input may change.
        release: the version of the release that answered, as triage@0123456789ab names it; there only if the model was
            published in a registry.
    """

    id: str
    task: str
    model: str
    version: str
    output: Raw
    cache: CacheStatus = "miss"
    timings: Timings = Timings()
    batch: BatchInfo | None = None
    seq: int = 0
    epoch: int | UnsetType = UNSET
    release: str | UnsetType = UNSET
    v: int = 1


class Chunk(Struct, frozen=True, tag_field="type", tag="chunk"):
    """Some pieces of an answer that is still being made. A Result with the whole answer, or a Failure, follows.

    Where an answer is cut into chunks depends on time, so a repetition cuts it otherwise: join chunks by ``from``.

    Attributes:
        seq: counts the chunks of an answer from 0; the Result or Failure behind them has the next number.
        from: the position of the first piece in the answer.
        output: a JSON list of pieces; the task decides what a piece is. It is empty in the mark of a worker that
            goes on with the answer of another one.
        epoch: grows with each worker that makes the answer. Behind a chunk with a higher epoch, all that has a
            lower one does not count: it comes from a worker that does not know that it was replaced.
    """

    id: str
    seq: int
    task: str
    model: str
    version: str
    from_: int = msgspec.field(name="from")
    output: Raw
    epoch: int | UnsetType = UNSET
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
    epoch: int | UnsetType = UNSET
    v: int = 1


Reply = Result | Chunk | Failure


class EmbedOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of an embed request.

    Attributes:
        normalize: scale the vector to length 1, so that a dot product is a cosine. The vectors of an encoder have it;
            the mean of the pieces of a long text, and a shortened vector, do not.
        dimensions: shorten the vector to its first dimensions; only models that were trained for it allow it.
    """

    normalize: bool = True
    dimensions: int | None = None


class EmbedOutput(Struct, frozen=True):
    """The vector of a text.

    Attributes:
        vector: the numbers, to seven decimals.
        dimensions: how many there are.
        windows: the number of overlapping pieces that a long text was cut into; the vector is their mean.
    """

    vector: list[float]
    dimensions: int
    windows: int = 1


class TriageOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a triage request.

    Attributes:
        threshold: a ticket with a lower confidence (0 to 1) needs a human; the default is in the taxonomy.
        runners_up: the number of further categories in the answer.
        clean: "mail" strips HTML, quotes, signatures and transfer encodings, "none" does not; the model has a default.
        text_blocks: whether the answer has what the taxonomy holds of replies to tickets of the category.
    """

    threshold: float | None = None
    runners_up: int = 2
    clean: Literal["mail", "none"] | None = None
    text_blocks: bool = False


class Category(Struct, frozen=True):
    """A category and its confidence (0 to 1; the confidences of all categories add up to 1)."""

    category: str
    confidence: float


class TriageOutput(Struct, frozen=True):
    """The category, priority and route of a ticket. ``windows`` is the number of overlapping pieces of its text.

    ``note`` is there only if the answer says nothing about the ticket: the model cannot read most of the text. Then a
    human is needed, and all categories have the same confidence. ``text_blocks``, the paragraphs for a reply that the
    taxonomy has for the category, are there only if the request asks for them. ``tier``, which part of a fitted model
    has answered, is there only if its static tier answers texts.
    """

    category: str
    confidence: float
    priority: str
    route: str
    needs_human: bool
    runners_up: list[Category] = []
    windows: int = 1
    note: str | UnsetType = UNSET
    text_blocks: list[str] | UnsetType = UNSET
    tier: Literal["static", "encoder"] | UnsetType = UNSET
