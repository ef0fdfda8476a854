"""A broker and a worker in one object, without a model: it answers requests as a test has said."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ...schemas.cancels import Cancel, decode_cancel
from ...schemas.codec import DecodeError, decode_request, encode
from ...schemas.messages import Failure, Reply, Request, Result
from ...schemas.tasks import CONTRACTS
from ...schemas.topics import ANY_ORDER, Header, header_values
from ..broker.base import Listener, Message, Record, TopicPartition, TopicSpec
from ..errors import InferstreamError, UnknownOption, UsageError, WrongType
from .gate import Gate

MODEL = "fake"
VERSION = "1"


class SentRequest(Struct, frozen=True):
    """A request as a client has sent it.

    Attributes:
        id: of an item of `map` without an id: its position.
        key: the record key; None if the content decides it, so that no order is asked for.
        timeout_s: None if there is no limit.
        body: the whole body, for tasks whose content is not one text.
    """

    task: str
    text: str
    id: str
    options: dict[str, Any]
    model: str | None
    tenant: str | None
    priority: str | None
    timeout_s: float | None
    key: bytes | None
    traceparent: str | None
    body: Request


Answering = Callable[[SentRequest], Any]


class FakeBroker:
    """Takes requests, and sends what ``answers`` has for their task. It lives in one event loop.

    ``broken`` is called with the task, the id on the wire and the exception of an answering function that is
    no InferstreamError.
    """

    def __init__(self, answers: Mapping[str, Any], broken: Callable[[str, str, Exception], None]) -> None:
        self.answers = dict(answers)
        self.requests: list[SentRequest] = []
        self.cancelled: list[str] = []
        self.gate = Gate()
        self._broken = broken
        self._consumers: list[FakeConsumer] = []
        self._running: dict[str, asyncio.Task[None]] = {}

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
            request = decode_request(message.value)
            wire_id = request.id or wire_id
            sent = sent_request(task, message, request)
            self.requests.append(sent)
            self.gate.arrived(len(self.requests))
        except DecodeError as error:
            self._send(message, Failure(error.id or wire_id, task, error.code, error.message))
            return
        running = asyncio.get_running_loop().create_task(self._answer(message, sent, wire_id))
        self._running[wire_id] = running
        running.add_done_callback(lambda _: self._running.pop(wire_id, None))

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
            self._send(message, await self._reply(sent, wire_id))
        except InferstreamError as error:
            self._send(message, failure_of(error, sent.task, wire_id))
        except Exception as error:
            self._broken(sent.task, wire_id, error)

    async def _reply(self, sent: SentRequest, wire_id: str) -> Reply:
        answer = self.answers[sent.task]
        if callable(answer) and not isinstance(answer, type):
            answer = answer(sent)
            if inspect.isawaitable(answer):
                answer = await _awaited(answer)
        if isinstance(answer, type) and issubclass(answer, InferstreamError):
            answer = answer(f"The fake client was told to fail with {answer.__name__}.")
        if isinstance(answer, InferstreamError):
            raise answer
        if isinstance(answer, Failure):
            return msgspec.structs.replace(answer, id=wire_id, task=sent.task)
        return Result(wire_id, sent.task, sent.model or MODEL, VERSION, Raw(msgspec.json.encode(answer)))

    def _send(self, message: Message, reply: Reply) -> None:
        topic = header_values(message.headers).get(Header.REPLY_TOPIC, b"").decode()
        for consumer in self._consumers:
            consumer.put(topic, encode(reply))


class FakeConsumer:
    """Reads the replies. All else that a consumer can do has no effect: there are no groups here."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._values: asyncio.Queue[Record] = asyncio.Queue()

    def put(self, topic: str, value: bytes) -> None:
        """A reply, if it is for this consumer. The reply to a cancel names no topic and is for all."""
        if topic in self._topics or not topic:
            self._values.put_nowait(Record(topic, 0, 0, None, value, (), 0))

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        return [await self._values.get()]

    async def close(self) -> None: ...

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset()

    def positions(self) -> Mapping[TopicPartition, int]:
        return {}

    def pause(self, partitions: Collection[TopicPartition]) -> None: ...

    def resume(self, partitions: Collection[TopicPartition]) -> None: ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int | None]:
        return {}

    async def begin_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {}

    async def offsets_at(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return {}

    async def seek(self, offsets: Mapping[TopicPartition, int]) -> None: ...


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def sent_request(task: str, message: Message, request: Request) -> SentRequest:
    """The request as its caller knows it. The client's clock must stand at 0."""
    values = {name: value.decode() for name, value in header_values(message.headers).items()}
    deadline_ms = values.get(Header.DEADLINE_MS)
    return SentRequest(
        task,
        str(request.text),
        caller_id(request.id or ""),
        request.options,
        values.get(Header.MODEL),
        values.get(Header.TENANT),
        values.get(Header.PRIORITY),
        None if deadline_ms is None else int(deadline_ms) / 1e3,
        None if values.get(Header.ORDER) == ANY_ORDER.decode() else message.key,
        values.get(Header.TRACEPARENT),
        request,
    )


def caller_id(wire_id: str) -> str:
    """The id as the caller knows it: `map` adds a number of its own to those of its items."""
    return wire_id.rpartition("#")[0] or wire_id


def check_options(sent: SentRequest) -> None:
    """Check the options as a worker does, if the task is known. Raises UnknownOption or WrongType."""
    contract = CONTRACTS.get(sent.task)
    if contract is None:
        return
    names = {field.encode_name for field in msgspec.structs.fields(contract.options)}
    if unknown := sorted(sent.options.keys() - names):
        raise UnknownOption(
            f"The task {sent.task!r} has no option {unknown[0]!r}; its options are: {', '.join(sorted(names))}."
        )
    try:
        msgspec.convert(sent.options, contract.options)
    except msgspec.ValidationError as error:
        raise WrongType(f"An option of {sent.task!r} has the wrong type: {error}.") from error


def failure_of(error: InferstreamError, task: str, wire_id: str) -> Failure:
    """The Failure that a worker sends for ``error``."""
    return Failure(wire_id, task, error.code, str(error), error.retryable, error.retry_after_ms)
