"""inferstream: a message-queue streaming inference pipeline.

The public names are listed here; all other names are internal and may change. A name is imported
at its first use, so that ``import inferstream`` is fast and needs no optional package.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline.client.client import Client
    from .pipeline.client.replies import Answer
    from .pipeline.client.sync_client import SyncClient
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
        EmptyBody,
        Fatal,
        InferstreamError,
        MissingText,
        ModelError,
        NotJson,
        NotUtf8,
        Overloaded,
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
        UsageError,
        WrongType,
    )
    from .pipeline.serving.edge import Edge
    from .pipeline.tasks.settings import load_config
    from .schemas.messages import (
        BatchInfo,
        Category,
        Chunk,
        Failure,
        Reply,
        Request,
        Result,
        Timings,
        TriageOptions,
        TriageOutput,
    )
    from .schemas.topics import Header, Topics

__all__ = [
    "Answer",
    "BadHeader",
    "BadRequest",
    "BatchInfo",
    "BlankText",
    "BrokerError",
    "Cancelled",
    "Category",
    "Chunk",
    "Client",
    "Config",
    "DeadlineExceeded",
    "DeviceError",
    "DeviceOutOfMemory",
    "Edge",
    "EmptyBody",
    "Failure",
    "Fatal",
    "Header",
    "InferstreamError",
    "KafkaConfig",
    "MissingText",
    "ModelError",
    "NotJson",
    "NotUtf8",
    "Overloaded",
    "ProviderUnavailable",
    "Reply",
    "ReplyTooLarge",
    "ReplyTopicNotAllowed",
    "Request",
    "Result",
    "ShuttingDown",
    "Superseded",
    "SyncClient",
    "Timeout",
    "Timings",
    "TooLarge",
    "Topics",
    "Transient",
    "TriageOptions",
    "TriageOutput",
    "UnknownModel",
    "UnknownOption",
    "UnknownTask",
    "UsageError",
    "WrongType",
    "load_config",
]

_MODULES = (
    "schemas.messages",
    "schemas.topics",
    "pipeline.errors",
    "pipeline.config",
    "pipeline.tasks.settings",
    "pipeline.client.replies",
    "pipeline.client.client",
    "pipeline.client.sync_client",
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
