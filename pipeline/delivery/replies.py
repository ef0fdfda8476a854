"""Replies as records of a reply topic."""

from msgspec import Raw

from ...schemas import codec
from ...schemas.messages import Failure, Result
from ...schemas.topics import Header
from ..broker.base import Headers, Message
from ..engine.engine import EngineAnswer
from ..errors import InferstreamError, Overloaded, ReplyTooLarge
from .arrival import Arrival
from .outcome import Outcome


class ReplyBuilder:
    """Builds the replies of one task. A result of more than ``max_bytes`` becomes a Failure."""

    def __init__(self, task: str, max_bytes: int) -> None:
        self._task = task
        self._max_bytes = max_bytes

    def result(self, arrival: Arrival, answer: EngineAnswer) -> Outcome:
        """The reply with an answer; a Failure instead if it is larger than a reply may be."""
        identity = arrival.reply_id
        body = codec.encode(
            Result(
                id=identity,
                task=self._task,
                model=answer.model,
                version=answer.version,
                output=Raw(answer.output),
                cache=answer.cache,
                timings=answer.timings,
                batch=answer.batch,
            )
        )
        reply = _message(arrival, identity, body)
        if len(body) > self._max_bytes:
            return self._too_large(reply, identity)
        return Outcome((reply,), lambda: self._too_large(reply, identity))

    def failure(self, arrival: Arrival, error: InferstreamError | codec.DecodeError) -> Outcome:
        """The reply with a Failure, which repeats the error's code and, shortened, its sentence."""
        identity = arrival.reply_id
        failure = Failure(
            id=identity,
            task=self._task,
            code=error.code,
            message=short_message(error),
            retryable=isinstance(error, InferstreamError) and error.retryable,
            retry_after_ms=error.retry_after_ms if isinstance(error, Overloaded) else None,
        )
        return _or_bare(_message(arrival, identity, codec.encode(failure)), identity)

    def _too_large(self, reply: Message, identity: str) -> Outcome:
        """A Failure in place of a reply that must not, or could not, be published."""
        failure = Failure(
            id=identity,
            task=self._task,
            code=ReplyTooLarge.code,
            message=f"The reply has {len(reply.value)} bytes, more than may be published: ask for less, or raise, to "
            "1 MB at most, the topic's max.message.bytes and `max_reply_bytes` in the worker's settings.",
        )
        return _or_bare(reply._replace(value=codec.encode(failure)), identity)


def _message(arrival: Arrival, identity: str, body: bytes) -> Message:
    record = arrival.record
    key = record.key or identity.encode()
    return Message(arrival.reply_topic, body, key, _traced(record.headers), arrival.reply_partition)


def _or_bare(reply: Message, identity: str) -> Outcome:
    """The reply; if the broker refuses its size, the same without the request's key and headers."""
    return Outcome((reply,), lambda: Outcome((reply._replace(key=identity.encode(), headers=()),)))


def _traced(headers: Headers) -> Headers:
    """The headers of a request that its reply repeats."""
    return tuple(header for header in headers if header[0] == Header.TRACEPARENT) if headers else ()


def short_message(error: Exception) -> str:
    """The error's message, shortened to about 500 characters."""
    message = str(error)
    return message if len(message) <= 500 else f"{message[:300]} … {message[-200:]}"
