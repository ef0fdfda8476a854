"""A broker and a worker in one object, without a model: it answers requests as a test has said."""

import asyncio
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...schemas.cancels import Cancel, decode_cancel
from ...schemas.codec import DecodeError, encode
from ...schemas.messages import Chunk, Failure, Reply, Result
from ...schemas.topics import Header, header_values
from ..broker.base import Listener, Message, TopicSpec
from ..errors import InferstreamError, Superseded, UsageError
from .fake_consumer import FakeConsumer
from .gate import AnswerGate
from .sent_request import SentRequest, caller_id, check_options, decoded, sent_request

MODEL = "fake"
VERSION = "1"


class Streamed(Struct, frozen=True):
    """An answer that comes in pieces where the client has asked for a stream.

    Attributes:
        pieces: each is sent alone, and waits for `FakeClient.release` where answers are held.
        output: the whole answer behind them; or an error or a Failure.
    """

    pieces: Sequence[Any]
    output: Any


class FakeBroker:
    """Takes requests, and sends what ``answers`` has for their task. It lives in one event loop.

    ``broken`` is called with the task, the id on the wire and the exception of an answering function that is
    no InferstreamError.
    """

    def __init__(self, answers: Mapping[str, Any], broken: Callable[[str, str, Exception], None]) -> None:
        self.answers = dict(answers)
        self.requests: list[SentRequest] = []
        self.cancelled: list[str] = []
        self.gate = AnswerGate()
        self._broken = broken
        self._consumers: list[FakeConsumer] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._partials: dict[str, Message] = {}  # of those that run, the requests that are not final

    async def __aenter__(self) -> "FakeBroker":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for running in list(self._running.values()):
            running.cancel()

    def publish(self, message: Message) -> asyncio.Future[None]:
        """Take a request or a cancel."""
        published: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        published.set_result(None)
        task, kind = message.topic.split(".")[-2:]
        if kind == "requests":
            self._take(task, message)
        elif kind == "cancels":
            self._cancel(task, message)
        return published

    async def consume(
        self,
        topics: Collection[str],
        *,
        group: str | None = None,
        listener: Listener | None = None,
        member: str | None = None,
        start: str = "earliest",
    ) -> "FakeConsumer":
        consumer = FakeConsumer(topics)
        self._consumers.append(consumer)
        return consumer

    async def ensure_topics(self, specs: Collection[TopicSpec]) -> None:
        """All topics of the tasks are there."""

    async def partitions(self, topic: str) -> int | None:
        """One, for the topics of a task that has an answer. Raises UsageError for those of another task."""
        task, _, kind = topic.rpartition(".")
        name = task.rpartition(".")[2]
        if kind == "requests" and name not in self.answers:
            known = ", ".join(map(repr, self.answers)) or "none"
            raise UsageError(f"The fake client has no answer for the task {name!r}: it has {known}.")
        return 1

    def _take(self, task: str, message: Message) -> None:
        wire_id = "?"
        try:
            request = decoded(task, message.value)
            wire_id = request.id or wire_id
            sent = sent_request(task, message, request)
            self.requests.append(sent)
            self.gate.arrived(len(self.requests))
        except DecodeError as error:
            self._send(message, Failure(error.id or wire_id, task, error.code, error.message))
            return
        if request.supersedes is not None:
            self._supersede(task, request.supersedes)
        if not request.final:
            self._partials[wire_id] = message
        running = asyncio.get_running_loop().create_task(self._answer(message, sent, wire_id))
        self._running[wire_id] = running
        running.add_done_callback(lambda _: self._forget(wire_id))

    def _forget(self, wire_id: str) -> None:
        self._running.pop(wire_id, None)
        self._partials.pop(wire_id, None)

    def _supersede(self, task: str, wire_id: str) -> None:
        """End a partial whose answer is held or still being made, as a worker does."""
        message = self._partials.pop(wire_id, None)
        if message is not None:
            self._running[wire_id].cancel()
            sentence = "A newer request takes the place of this one, as its sender has said."
            self._send(message, Failure(wire_id, task, Superseded.code, sentence))

    def _cancel(self, task: str, message: Message) -> None:
        cancel = decode_cancel(message.value)
        if isinstance(cancel, Cancel) and (running := self._running.get(cancel.id)):
            running.cancel()
            self.cancelled.append(caller_id(cancel.id))
            sentence = f"The request was {cancel.reason} by its client."
            self._send(message, Failure(cancel.id, task, cancel.reason, sentence))

    async def _answer(self, message: Message, sent: SentRequest, wire_id: str) -> None:
        await self.gate.passed()
        try:
            check_options(sent)
            answer = await self._of_task(sent)
            if isinstance(answer, Streamed):
                await self._tell(message, sent, wire_id, answer.pieces)
                answer = answer.output
            self._send(message, _terminal(answer, sent, wire_id))
        except InferstreamError as error:
            self._send(message, failure_of(error, sent.task, wire_id))
        except Exception as error:
            self._broken(sent.task, wire_id, error)

    async def _of_task(self, sent: SentRequest) -> Any:
        answer = self.answers[sent.task]
        if callable(answer) and not isinstance(answer, type):
            answer = answer(sent)
            if inspect.isawaitable(answer):
                return await answer
        return answer

    async def _tell(self, message: Message, sent: SentRequest, wire_id: str, pieces: Sequence[Any]) -> None:
        """Send each piece in a chunk of its own; the gate is passed behind each."""
        for position, piece in enumerate(pieces if sent.stream else ()):
            output = Raw(msgspec.json.encode([piece]))
            chunk = Chunk(wire_id, position, sent.task, sent.model or MODEL, VERSION, position, output)
            self._send(message, chunk)
            await self.gate.passed()

    def _send(self, message: Message, reply: Reply) -> None:
        topic = header_values(message.headers).get(Header.REPLY_TOPIC, b"").decode()
        for consumer in self._consumers:
            consumer.put(topic, encode(reply))


def _terminal(answer: Any, sent: SentRequest, wire_id: str) -> Result | Failure:
    """The Result with this output, or the Failure. Raises an error that stands for itself."""
    if isinstance(answer, type) and issubclass(answer, InferstreamError):
        answer = answer(f"The fake client was told to fail with {answer.__name__}.")
    if isinstance(answer, InferstreamError):
        raise answer
    if isinstance(answer, Failure):
        return msgspec.structs.replace(answer, id=wire_id, task=sent.task)
    return Result(wire_id, sent.task, sent.model or MODEL, VERSION, Raw(msgspec.json.encode(answer)))


def failure_of(error: InferstreamError, task: str, wire_id: str) -> Failure:
    """The Failure that a worker sends for ``error``."""
    return Failure(wire_id, task, error.code, str(error), error.retryable, error.retry_after_ms)
