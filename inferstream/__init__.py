"""Inference through a message queue: requests in Kafka, answers of ONNX models out, each exactly once.

Ask the workers of a Kafka, in a program with an event loop and in one without:

    async with inferstream.Client("127.0.0.1:9092") as client:
        answer = await client.request("triage", "I was charged twice")
        print(answer.output.category)

    with inferstream.SyncClient("127.0.0.1:9092") as client:
        for answer in client.map("triage", texts):
            ...

`request` gives an Answer or raises an InferstreamError, whose sentence says what to do; `map` gives an Answer or a
Failure for each text. `output` has the type of its task: TriageOutput for ``triage``.

    async with inferstream.Edge() as client:      # model, worker and queue in this process, without a Kafka
    inferstream.testing.FakeClient                # for your tests: no model, no Kafka
    inferstream.load_config                       # the settings of a worker, from a file and from variables

docs/client.md has all of this with examples, `inferstream --help` the command line.

The names listed here are public; all others are internal and may change. A name is imported at its first use, so
that ``import inferstream`` is fast and needs no optional package.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline.client.captions.caption import Caption
    from .pipeline.client.captions.measures import StreamReport
    from .pipeline.client.captions.stream import Partial, TranslationStream
    from .pipeline.client.captions.sync_stream import SyncTranslationStream
    from .pipeline.client.client import Client
    from .pipeline.client.replies import Answer
    from .pipeline.client.stream import Stream
    from .pipeline.client.sync_client import SyncClient
    from .pipeline.client.sync_stream import SyncStream
    from .pipeline.config import Config, KafkaConfig
    from .pipeline.errors import (
        BadHeader,
        BadRequest,
        BlankText,
        BrokerError,
        Cancelled,
        DeadlineExceeded,
        DeviceError,
        DeviceOutOfMemory,
        DeviceUnavailable,
        EmptyBody,
        Fatal,
        InferstreamError,
        MissingText,
        ModelError,
        NotJson,
        NotUtf8,
        Overloaded,
        Poison,
        ProviderUnavailable,
        ReplyTooLarge,
        ReplyTopicNotAllowed,
        ShuttingDown,
        Superseded,
        Timeout,
        TooLarge,
        Transient,
        UnknownModel,
        UnknownOption,
        UnknownTask,
        UnreadableBatch,
        UsageError,
        WrongType,
    )
    from .pipeline.serving.edge import Edge
    from .pipeline.tasks.settings import load_config
    from .schemas.classification import ClassifyOptions, ClassifyOutput, LabelScore
    from .schemas.messages import (
        BatchInfo,
        Category,
        Chunk,
        EmbedOptions,
        EmbedOutput,
        Failure,
        Reply,
        Request,
        Result,
        Timings,
        TriageOptions,
        TriageOutput,
    )
    from .schemas.topics import Header, Topics
    from .schemas.translation import TranslateOptions, TranslateOutput

__all__ = [
    "Answer",
    "BadHeader",
    "BadRequest",
    "BatchInfo",
    "BlankText",
    "BrokerError",
    "Cancelled",
    "Caption",
    "Category",
    "Chunk",
    "ClassifyOptions",
    "ClassifyOutput",
    "Client",
    "Config",
    "DeadlineExceeded",
    "DeviceError",
    "DeviceOutOfMemory",
    "DeviceUnavailable",
    "Edge",
    "EmbedOptions",
    "EmbedOutput",
    "EmptyBody",
    "Failure",
    "Fatal",
    "Header",
    "InferstreamError",
    "KafkaConfig",
    "LabelScore",
    "MissingText",
    "ModelError",
    "NotJson",
    "NotUtf8",
    "Overloaded",
    "Partial",
    "Poison",
    "ProviderUnavailable",
    "Reply",
    "ReplyTooLarge",
    "ReplyTopicNotAllowed",
    "Request",
    "Result",
    "ShuttingDown",
    "Stream",
    "StreamReport",
    "Superseded",
    "SyncClient",
    "SyncStream",
    "SyncTranslationStream",
    "Timeout",
    "Timings",
    "TooLarge",
    "Topics",
    "Transient",
    "TranslateOptions",
    "TranslateOutput",
    "TranslationStream",
    "TriageOptions",
    "TriageOutput",
    "UnknownModel",
    "UnknownOption",
    "UnknownTask",
    "UnreadableBatch",
    "UsageError",
    "WrongType",
    "load_config",
]

_MODULES = (
    "schemas.messages",
    "schemas.classification",
    "schemas.translation",
    "schemas.topics",
    "pipeline.errors",
    "pipeline.config",
    "pipeline.tasks.settings",
    "pipeline.client.replies",
    "pipeline.client.stream",
    "pipeline.client.captions.caption",
    "pipeline.client.captions.measures",
    "pipeline.client.captions.stream",
    "pipeline.client.captions.sync_stream",
    "pipeline.client.client",
    "pipeline.client.sync_client",
    "pipeline.client.sync_stream",
    "pipeline.serving.edge",
)
"""Modules that define the public names. Those that import few packages come first."""


def __getattr__(name: str) -> object:
    for module in _MODULES if name in __all__ else ():
        if found := getattr(import_module(f".{module}", __name__), name, None):
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
