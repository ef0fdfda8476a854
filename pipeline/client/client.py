"""The client: sends one request and awaits its answer, or maps a stream of texts to answers."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self

from msgspec import structs

from ...schemas.messages import Failure, Request, Result
from ...schemas.topics import Topics
from ..broker.base import Broker
from ..config import KafkaConfig
from ..errors import BadRequest, BrokerError, ShuttingDown, Timeout, UsageError
from .envelope import Envelope, request_message
from .mapping import mapped
from .replies import Answer, PendingReplies, answer_of, answer_or_failure, error_of, wrong_item

Item = str | Request | Failure
DEFAULT_TIMEOUT_S: Final = 30.0
CLOSED: Final = "The client is closed: send requests inside of `async with`."


class Client:
    """Sends requests and returns their replies. Use it with ``async with``.

    Any number of coroutines of one event loop may share a client.

    Args:
        kafka: address of the cluster, ``host:port``, or several separated by commas; or a KafkaConfig
            with all settings.
        broker: instead of ``kafka``, an open broker. The client does not close it.
        embedded: instead of ``kafka``, the folder of an embedded broker. A worker on this machine must
            serve it.
        reply_topic: the topic for replies; ``{task}`` in it is replaced by the task. The topic must
            exist and the workers must allow it. Default: the reply topic of the task.
        prefix: the prefix of all topic names. Default: the prefix of the KafkaConfig.
        clock: Unix time in seconds. Deadlines are computed from it.

    Methods raise BrokerError if the broker cannot be reached or a topic does not exist, and ShuttingDown
    if the client is closed before the answer arrives.
    """

    def __init__(
        self,
        kafka: str | KafkaConfig | None = None,
        *,
        broker: Broker | None = None,
        embedded: Path | str | None = None,
        reply_topic: str | None = None,
        prefix: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if [kafka, broker, embedded].count(None) != 2:
            raise UsageError("Give the client one of: a Kafka address, broker=…, embedded=FOLDER.")
        config = kafka if isinstance(kafka, KafkaConfig) else KafkaConfig(bootstrap=kafka or "")
        connected, option = (broker, "") if broker else _connection(config, embedded)
        self._broker = connected
        self._owned = None if broker else connected
        self._worker_option = option
        self._prefix = prefix or config.topic_prefix
        self._reply_topic = reply_topic
        self._clock = clock
        self._replies: dict[str, PendingReplies] = {}
        self._opening = asyncio.Lock()
        self._token = token_hex(6)
        self._numbers = count()
        self._open = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._owned:
            await self._stack.enter_async_context(self._owned)
        self._open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        async with self._stack:
            self.abandon()
            for replies in self._replies.values():
                await replies.close()

    def abandon(self) -> None:
        """Refuse new requests, and fail all pending ones with ShuttingDown at once."""
        self._open = False
        for replies in self._replies.values():
            replies.abandon()

    async def request(
        self,
        task: str,
        text: str,
        *,
        id: str | None = None,  # noqa: A002
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        priority: str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        key: bytes | None = None,
        traceparent: str | None = None,
    ) -> Answer:
        """Send one request and wait for its answer.

        Args:
            task: the name of the task, e.g. ``triage``. It decides the type of the answer's ``output``.
            text: the text for the model.
            id: your id of the request, unique among the pending ones. Default: a new id.
            model: the name of a model that the workers serve. Default: the first model of the worker.
            options: options of the task, see e.g. TriageOptions.
            tenant: the tenant of the request. Cached answers are never shared between tenants.
            priority: ``high``, ``normal`` or ``low``. Default: ``normal``.
            timeout_s: seconds to wait for the answer; a worker does not start the request later than
                that. None: no limit.
            key: the record key. Requests of one key are answered in order. Default: a hash of the
                content, without an order.
            traceparent: W3C Trace Context, copied to the reply. Default: a new trace.

        Raises the error with the ``code`` of the failure (see `errors.py`), or Timeout.
        """
        replies = await self._open_replies(task, timeout_s)
        envelope = Envelope(self._reply_topic_of(task), model, tenant, priority, timeout_s, key, traceparent)
        request_id = id or self._new_id()
        if replies.is_pending(request_id):
            raise UsageError(f"A request with the id {request_id} is waiting already: give each its own id.")
        request = Request(text=text, id=request_id, options=dict(options or {}))
        reply = await self._publish(replies, request, envelope, request_id)
        if isinstance(reply, Failure):
            raise error_of(reply)
        return answer_of(reply)

    async def map(
        self,
        task: str,
        texts: Iterable[Item] | AsyncIterable[Item],
        *,
        model: str | None = None,
        options: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        priority: str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        max_in_flight: int = 256,
        ordered: bool = True,
    ) -> AsyncGenerator[Answer | Failure, None]:
        """Send a request for each text and yield its Answer or its Failure. Memory use is constant.

        Reads ``texts`` only as fast as the answers are consumed. An item is a text; or a Request, whose
        own options override ``options``; or a Failure, which is yielded in its place. The id of a reply
        is the id of its item; if the item has no id, its position, from 0.

        Args:
            max_in_flight: maximum number of requests that are sent and whose answer is not consumed yet.
            ordered: yield the answers in the order of ``texts``; otherwise in the order of arrival.

        The other arguments are those of `request`. Raises Fatal errors; every other error is the
        Failure of its item.
        """
        replies = await self._open_replies(task, timeout_s)
        envelope = Envelope(self._reply_topic_of(task), model, tenant, priority, timeout_s)
        positions = count()

        def send(item: Item) -> asyncio.Future[Result | Failure]:
            return self._publish_item(replies, item, next(positions), options or {}, envelope)

        async with aclosing(mapped(texts, send, max_in_flight=max_in_flight, ordered=ordered)) as finished:
            async for future in finished:
                yield answer_or_failure(future.result())

    def _publish_item(
        self,
        replies: PendingReplies,
        item: object,
        position: int,
        options: Mapping[str, Any],
        envelope: Envelope,
    ) -> asyncio.Future[Result | Failure]:
        """Publish an item of `map`. Items may share an id, so the request gets a unique one."""
        if isinstance(item, Failure):
            return _resolved(item)
        if not isinstance(item, str | Request):
            return _resolved(wrong_item(item, str(position), replies.task))
        request = Request(text=item) if isinstance(item, str) else item
        caller_id = request.id or str(position)
        request = structs.replace(
            request, id=f"{caller_id}#{self._new_id()}", options={**options, **request.options}
        )
        try:
            return self._publish(replies, request, envelope, caller_id)
        except BadRequest as error:
            return _resolved(Failure(caller_id, replies.task, error.code, str(error)))

    def _publish(
        self, replies: PendingReplies, request: Request, envelope: Envelope, caller_id: str
    ) -> asyncio.Future[Result | Failure]:
        """Publish the request and return the future of its reply."""
        if not self._open:
            raise ShuttingDown(CLOSED)
        message = request_message(Topics(replies.task, self._prefix).requests, request, envelope, self._clock)
        return replies.expect(request.id or "", caller_id, self._broker.publish(message), envelope.timeout_s)

    def _new_id(self) -> str:
        return f"{self._token}-{next(self._numbers)}"

    def _reply_topic_of(self, task: str) -> str:
        return (
            self._reply_topic.format(task=task) if self._reply_topic else Topics(task, self._prefix).replies
        )

    async def _open_replies(self, task: str, timeout_s: float | None) -> PendingReplies:
        """The replies of ``task``, opened once. Raises ShuttingDown, BrokerError or Timeout."""
        if not self._open:
            raise ShuttingDown(CLOSED)
        try:
            async with asyncio.timeout(timeout_s), self._opening:
                if task in self._replies and not self._replies[task].alive:
                    await self._replies.pop(task).close()
                if task not in self._replies:
                    self._replies[task] = await self._consume_replies(task)
        except TimeoutError as error:
            raise Timeout(f"The broker did not answer within {timeout_s:g} s: is it reachable?") from error
        return self._replies[task]

    async def _consume_replies(self, task: str) -> PendingReplies:
        reply_topic = self._reply_topic_of(task)
        for topic in (Topics(task, self._prefix).requests, reply_topic):
            if await self._broker.partitions(topic) is None:
                command = f"inferstream worker {task}{self._worker_option}"
                raise BrokerError(f"There is no topic {topic}: start a worker, which makes it: `{command}`.")
        return await PendingReplies.open(self._broker, task, reply_topic)


def _resolved(failure: Failure) -> asyncio.Future[Result | Failure]:
    future: asyncio.Future[Result | Failure] = asyncio.Future()
    future.set_result(failure)
    return future


def _connection(config: KafkaConfig, embedded: Path | str | None) -> tuple[Broker, str]:
    """The broker, and the option of `inferstream worker` that selects it."""
    if embedded is not None:
        from ..broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(Path(embedded)), f" --embedded {embedded}"
    from ..broker.kafka.broker import KafkaBroker

    return KafkaBroker(config), f" --kafka {config.bootstrap}"
