"""Every error that inferstream raises. Each class has a stable code, and says whether a retry can help.

InferstreamError
├── UsageError                a wrong option, argument or file of the user; exit status 2
├── BadRequest                the request is wrong; a retry cannot help
│   ├── NotUtf8, NotJson, EmptyBody, WrongType, MissingText, BlankText, TooLarge
│   ├── UnknownTask, UnknownOption, BadHeader
│   ├── UnknownModel
│   │   └── ModelElsewhere    this worker lacks the model; another one of the group may have it
│   ├── DeadlineExceeded      its deadline passed before its result was ready
│   ├── UnreadableBatch       the batch of the request cannot be read; it becomes a dead letter
│   ├── ReplyTopicNotAllowed  its reply topic is not allowed; the request becomes a dead letter
│   └── ReplyTooLarge         the broker does not accept a reply of this size
├── Transient                 a retry can help
│   ├── Overloaded, DeviceOutOfMemory, ShuttingDown
│   ├── DeviceUnavailable
│   │   └── DeviceLost        until the process is started again
│   └── Timeout               the client received no reply in time
├── Cancelled                 the caller has cancelled it, or the caller's lease ran out
│   └── Superseded            a newer request takes its place
├── DeviceError               the model cannot run this input
│   └── Poison                this input ended worker processes
└── Fatal                     the process cannot continue; it exits non-zero
    ├── BrokerError           unreachable, not authorized, topics missing or misshapen
    │   └── NotWritable       one topic is gone or takes no record, or one record is refused
    ├── ModelError            weights missing, corrupted or not what the manifest says
    └── ProviderUnavailable   the requested execution provider is not usable here

`models/fetching` derives Unreachable and Corrupted from ModelError; a pull catches both and tries the next source.
`models/releases/faults` has those of the registry of releases.
"""

from collections.abc import Iterable
from typing import ClassVar


class InferstreamError(Exception):
    """The root. ``str(error)`` is one sentence that says what to do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    retry_after_ms: int | None = None
    """When a retry makes sense, if that is known."""


class UsageError(InferstreamError):
    code = "usage"


class BadRequest(InferstreamError):
    code = "bad_request"


class NotUtf8(BadRequest):
    code = "not_utf8"


class NotJson(BadRequest):
    code = "not_json"


class EmptyBody(BadRequest):
    code = "empty_body"


class WrongType(BadRequest):
    code = "wrong_type"


class MissingText(BadRequest):
    code = "missing_text"


class BlankText(BadRequest):
    code = "blank_text"


class TooLarge(BadRequest):
    code = "too_large"


def too_many_tokens(max_tokens: int) -> TooLarge:
    """The error for a text of more than ``max_tokens``."""
    return TooLarge(
        f"The text has more than the {max_tokens} tokens allowed: split it, or raise `max_request_tokens` in "
        "the worker's settings."
    )


class UnknownTask(BadRequest):
    code = "unknown_task"


class UnknownModel(BadRequest):
    code = "unknown_model"


class ModelElsewhere(UnknownModel):
    retryable = True


class UnknownOption(BadRequest):
    code = "unknown_option"


class BadHeader(BadRequest):
    code = "bad_header"


class DeadlineExceeded(BadRequest):
    code = "deadline_exceeded"


class UnreadableBatch(BadRequest):
    code = "unreadable_batch"


class ReplyTopicNotAllowed(BadRequest):
    code = "reply_topic_not_allowed"


class ReplyTooLarge(BadRequest):
    code = "reply_too_large"


class Transient(InferstreamError):
    code = "transient"
    retryable = True


class Overloaded(Transient):
    code = "overloaded"

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeviceOutOfMemory(Transient):
    code = "device_out_of_memory"


class DeviceUnavailable(Transient):
    code = "device_unavailable"


class DeviceLost(DeviceUnavailable):
    """Every run of this process on the device fails, whatever the input."""


class ShuttingDown(Transient):
    code = "shutting_down"


class Timeout(Transient):
    code = "timeout"


class Cancelled(InferstreamError):
    code = "cancelled"


class Superseded(Cancelled):
    code = "superseded"


class DeviceError(InferstreamError):
    code = "device_error"


class Poison(DeviceError):
    code = "poison"


class Fatal(InferstreamError):
    code = "fatal"


class BrokerError(Fatal):
    code = "broker"


class NotWritable(BrokerError):
    """Other topics can be written to, so a topic that a request has named ends no worker."""


class ModelError(Fatal):
    code = "model"


class ProviderUnavailable(Fatal):
    code = "provider_unavailable"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in a sentence; of hundreds of them the first few."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
