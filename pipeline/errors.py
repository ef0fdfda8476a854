"""Every error that inferstream raises, each with a stable code and whether trying again can help.

InferstreamError
├── UsageError                what the user typed or wrote in a file; exit status 2
├── BadRequest                the request is at fault; trying again cannot help
│   ├── NotUtf8, NotJson, EmptyBody, WrongType, MissingText, BlankText, TooLarge
│   ├── UnknownTask, UnknownModel, UnknownOption, BadHeader
│   ├── DeadlineExceeded      expired before it reached the device
│   ├── ReplyTopicNotAllowed  must not be answered there: goes to the dead letters
│   └── ReplyTooLarge
├── Transient                 trying again can help
│   ├── Overloaded, DeviceOutOfMemory, ShuttingDown
│   ├── DeviceUnavailable
│   │   └── DeviceLost        for this process: another one can have it
│   └── Timeout               the client saw no reply in time
├── DeviceError               the model cannot run this input
│   └── Poison                this input ends the worker's process
└── Fatal                     the process cannot go on; it exits non-zero
    ├── BrokerError           unreachable, not authorized, topics missing or misshapen
    ├── ModelError            weights missing, corrupted or not what the manifest says
    └── ProviderUnavailable   an execution provider was asked for and is not there
"""

from typing import ClassVar


class InferstreamError(Exception):
    """The root. ``str(error)`` is one sentence that says what to do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    retry_after_ms: int | None = None
    """When to come back, where that is known."""


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


class UnknownTask(BadRequest):
    code = "unknown_task"


class UnknownModel(BadRequest):
    code = "unknown_model"


class UnknownOption(BadRequest):
    code = "unknown_option"


class BadHeader(BadRequest):
    code = "bad_header"


class DeadlineExceeded(BadRequest):
    code = "deadline_exceeded"


class ReplyTopicNotAllowed(BadRequest):
    code = "reply_topic_not_allowed"


class ReplyTooLarge(BadRequest):
    code = "reply_too_large"


class Transient(InferstreamError):
    code = "transient"
    retryable = True


class Overloaded(Transient):
    """``retry_after_ms`` says when to come back."""

    code = "overloaded"

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class DeviceOutOfMemory(Transient):
    code = "device_out_of_memory"


class DeviceUnavailable(Transient):
    code = "device_unavailable"


class DeviceLost(DeviceUnavailable):
    """Nothing that this process does on the device succeeds any more, whatever the input."""


class ShuttingDown(Transient):
    code = "shutting_down"


class Timeout(Transient):
    code = "timeout"


class DeviceError(InferstreamError):
    code = "device_error"


class Poison(DeviceError):
    code = "poison"


class Fatal(InferstreamError):
    code = "fatal"


class BrokerError(Fatal):
    code = "broker"


class ModelError(Fatal):
    code = "model"


class ProviderUnavailable(Fatal):
    code = "provider_unavailable"
