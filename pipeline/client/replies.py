"""Replies: decodes them, and resolves the pending requests of one task."""

import asyncio
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Final, Generic, Self, TypeVar, cast

import msgspec
from msgspec import Struct, structs

from ...schemas.cancels import Reason
from ...schemas.codec import DecodeError, decode_reply
from ...schemas.messages import Chunk, Failure, Result
from .. import errors
from ..broker.base import Broker, Consumer, Message, Record
from ..errors import BrokerError, InferstreamError, ReplyTooLarge, ShuttingDown, Timeout, TooLarge
from ..tasks.catalogue import contract_of
from .epochs import Epochs
from .pending import Pending
from .reading import Reading

POLL_RECORDS: Final = 2_000
POLL_MS: Final = 1_000

Unwanted = Callable[[asyncio.Future[None], Message], None]
"""Sends the cancel of a request when that was published."""

Output_co = TypeVar("Output_co", covariant=True)


class Answer(Struct, Generic[Output_co], frozen=True):
    """The answer to one request: the task's output, e.g. a TriageOutput, and the whole reply."""

    output: Output_co
    reply: Result


@lru_cache(maxsize=64)
def decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    """The decoder of a type of output. Raises TypeError if msgspec does not know it."""
    return msgspec.json.Decoder(cast(Any, kind))


def output_of(task: str) -> Any:
    """The type of the task's output. The output of a task that is not installed here is plain JSON."""
    contract = contract_of(task)
    return contract.output if contract else Any


def answer_of(reply: Result, output: Any = None) -> Answer[Any]:
    """Decode the output of ``reply``, as ``output`` or as its task's type.

    Raises InferstreamError if it is of another shape.
    """
    kind = output or output_of(reply.task)
    try:
        return Answer(decoder(kind).decode(reply.output), reply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        advice = (
            "Correct `output`"
            if output
            else "Install the version of inferstream, or of the package with the task, that the worker runs"
        )
        raise InferstreamError(
            f"The reply to {reply.id} cannot be decoded as an output of `{reply.task}` ({error}). {advice}."
        ) from error


def answer_or_failure(reply: Result | Failure, output: Any = None) -> Answer[Any] | Failure:
    """The answer, or the Failure of a reply that cannot be decoded: it must not end the others."""
    if isinstance(reply, Failure):
        return reply
    try:
        return answer_of(reply, output)
    except InferstreamError as error:
        return Failure(reply.id, reply.task, error.code, str(error), model=reply.model, version=reply.version)


def error_of(failure: Failure) -> InferstreamError:
    """The exception for ``failure``: of the class with its code, else an InferstreamError with its code."""
    error = _error_class(failure)(failure.message)
    error.retry_after_ms = failure.retry_after_ms
    return error


def _error_class(failure: Failure) -> type[InferstreamError]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, InferstreamError) and kind.code == failure.code:
            return kind
    # A later version of the worker may send a code that this version has no class for.
    attributes = {"code": failure.code, "retryable": failure.retryable, "__module__": errors.__name__}
    return type("InferstreamError", (InferstreamError,), attributes)


class PendingReplies:
    """The pending requests of one task. Reads the reply topic from its end, without a consumer group.

    Ignores replies to other clients, and a second reply to a request: the request is no longer pending.
    """

    def __init__(self, consumer: Consumer, task: str, unwanted: Unwanted) -> None:
        """``unwanted`` sends the cancel of a request whose future was cancelled, or whose time is over."""
        self.task = task
        self._unwanted = unwanted
        self._consumer = consumer
        self._pending: dict[str, Pending] = {}
        self._epochs = Epochs()
        self._ended: BaseException | None = None
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(self._stopped)

    @classmethod
    async def open(cls, broker: Broker, task: str, topic: str, unwanted: Unwanted) -> Self:
        return cls(await broker.consume([topic], start="latest"), task, unwanted)

    @property
    def alive(self) -> bool:
        return self._ended is None

    def expect(
        self,
        request_id: str,
        caller_id: str,
        published: asyncio.Future[None],
        timeout_s: float | None,
        reading: Reading | None = None,
        cancel: Callable[..., Message] | None = None,
    ) -> asyncio.Future[Result | Failure]:
        """Register a request. Returns the future of its reply, in which ``caller_id`` replaces the id.

        Until then its chunks go to ``reading``, also those that come again. ``cancel`` makes its cancel.

        A timeout, or a request too large for the broker, resolves the future with a Failure. The future
        fails with BrokerError, and with ShuttingDown if the client is closed.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Result | Failure] = loop.create_future()
        timer = None
        if timeout_s is not None:
            timer = loop.call_later(timeout_s, self._expire, request_id, timeout_s)
        pending = Pending(caller_id, reply, published, timer, reading, cancel)
        self._pending[request_id] = pending
        reply.add_done_callback(lambda _: self._forget(request_id))
        published.add_done_callback(lambda _: self._published(pending))
        if self._ended:
            _fail(pending, self._ended)
        return reply

    def fail(self, request_id: str, error: Exception) -> None:
        """End a pending request with ``error``, if it is still pending."""
        if pending := self._pending.get(request_id):
            _fail(pending, error)

    def is_pending(self, request_id: str) -> bool:
        return request_id in self._pending

    def cancels_of(self, caller_id: str, reason: Reason) -> list[Message]:
        """The cancels of the pending requests that the caller knows by this id."""
        found = [one.cancel for one in self._pending.values() if one.caller_id == caller_id]
        return [cancel(reason=reason) for cancel in found if cancel is not None]

    def abandon(self) -> None:
        """Stop reading, and fail all pending requests with ShuttingDown."""
        self._reader.cancel()

    async def close(self) -> None:
        self.abandon()
        await asyncio.wait([self._reader])
        await self._consumer.close()

    async def _read(self) -> None:
        while True:
            for record in await self._consumer.poll(POLL_RECORDS, POLL_MS):
                self._deliver(record)

    def _stopped(self, reader: "asyncio.Task[None]") -> None:
        """Nothing is read any more. Also called for a reader that was cancelled before its first turn."""
        closed = ShuttingDown("The client was closed before the reply came: send the request again.")
        self._ended = closed if reader.cancelled() else reader.exception() or closed
        for pending in self._pending.values():
            _fail(pending, self._ended)

    def _deliver(self, record: Record) -> None:
        try:
            reply = decode_reply(record.value)
        except DecodeError:
            return  # a record of another program on a shared topic
        pending = self._pending.get(reply.id)
        if pending is None or not self._epochs.counts(reply):
            return
        if isinstance(reply, Chunk):
            if pending.reading is not None:
                pending.reading.add(reply)
        else:
            _resolve(pending, structs.replace(reply, id=pending.caller_id))

    def _forget(self, request_id: str) -> None:
        pending = self._pending.pop(request_id)
        self._epochs.forget(request_id)
        if pending.timer:
            pending.timer.cancel()
        if pending.reply.cancelled():
            self._end(pending)

    def _end(self, pending: Pending) -> None:
        """Nothing waits for the reply any more: tell the workers."""
        if pending.cancel is not None:
            self._unwanted(pending.published, pending.cancel())

    def _expire(self, request_id: str, timeout_s: float) -> None:
        pending = self._pending[request_id]
        if pending.published.done():
            sentence = f"No reply came within {timeout_s:g} s: is a worker running, and keeping up?"
        else:
            sentence = (
                f"The broker did not take the request within {timeout_s:g} s: is it up, is the topic there?"
            )
        if not pending.reply.done():
            self._end(pending)
        _resolve(pending, Failure(pending.caller_id, self.task, Timeout.code, sentence, Timeout.retryable))

    def _published(self, pending: Pending) -> None:
        if pending.published.cancelled():
            _fail(pending, BrokerError("The broker stopped before it took the request: send it again."))
        elif isinstance(error := pending.published.exception(), ReplyTooLarge):
            sentence = "The request is larger than the broker takes: send a shorter text."
            _resolve(pending, Failure(pending.caller_id, self.task, TooLarge.code, sentence))
        elif error:
            _fail(pending, error)


def _resolve(pending: Pending, reply: Result | Failure) -> None:
    if not pending.reply.done():
        pending.reply.set_result(reply)


def _fail(pending: Pending, error: BaseException) -> None:
    if not pending.reply.done():
        pending.reply.set_exception(error)
