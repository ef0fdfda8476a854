"""The client: a coroutine per request, or a stream of answers for a stream of texts."""

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
from .envelope import Envelope, Sender
from .mapping import mapped
from .replies import Answer, Replies, answer_of, error_of

Item = str | Request | Failure
DEFAULT_TIMEOUT_S: Final = 30.0
CLOSED: Final = "The client is closed: send requests inside of `async with`."


class Client:
    """Sends requests and gives each its reply. Use it with ``async with``, from any number of coroutines.

    Args:
        kafka: ``host:port`` of a broker, several separated by commas, or all settings as a KafkaConfig.
        broker: instead, a broker that the caller has opened and will close.
        embedded: instead, the folder of an embedded broker that a worker on this machine serves.
        reply_topic: where replies go; ``{task}`` stands for the task. It must exist, and the workers must allow it.
        prefix: what topic names begin with, if not as in the KafkaConfig.
        clock: the Unix time in seconds, for deadlines.

    Methods raise BrokerError when the broker or its topics are not there, and ShuttingDown when the client is
    closed before the answer came.
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
        self._prefix = prefix or config.topic_prefix
        self._broker, self._where = (broker, "") if broker else _connection(config, embedded)
        self._owned = None if broker else self._broker
        self._reply_topic, self._clock = reply_topic, clock
        self._replies: dict[str, Replies] = {}
        self._opening = asyncio.Lock()
        self._token, self._numbers, self._open = token_hex(6), count(), False
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
        """Send nothing any more; whoever still waits gets ShuttingDown at once."""
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
            task: what is to be done, e.g. ``triage``; it decides the type of the answer's ``output``.
            text: what the model reads.
            id: your own, unique among the requests that are waiting; else one is made.
            model: a name that the workers serve; by default the one that they serve first.
            options: options of the task, see e.g. TriageOptions.
            tenant: in whose name; answers are never shared between tenants.
            priority: high, normal or low.
            timeout_s: wait no longer, and let no worker begin it later; None: without end.
            key: the record's key: requests of one key are answered in order; else the hash of the content.
            traceparent: W3C Trace Context, copied to the reply; else one is made.

        Raises the error whose ``code`` the failure has (see the errors of this package), or Timeout.
        """
        replies = await self._replies_of(task, timeout_s)
        envelope = Envelope(self._reply_topic_of(task), model, tenant, priority, timeout_s, key, traceparent)
        known_as = id or self._new_id()
        if replies.waits_for(known_as):
            raise UsageError(f"A request with the id {known_as} is waiting already: give each its own id.")
        request = Request(text=text, id=known_as, options=dict(options or {}))
        reply = await self._send(replies, request, envelope, known_as)
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
        """The answer or the Failure of each text, in constant memory however many there are.

        Reads ``texts`` only as fast as the answers are taken. An item may be a text; a Request, whose options go
        before ``options``; or a Failure, which comes out in its place. A reply carries the id of its item, or where
        it has none its position, from 0.

        Args:
            max_in_flight: so many requests are sent and not yet taken, at most.
            ordered: answers come in the order of the texts, else as soon as they are there.

        Raises Fatal errors; all others come as a Failure of one item.
        """
        replies = await self._replies_of(task, timeout_s)
        envelope = Envelope(self._reply_topic_of(task), model, tenant, priority, timeout_s)
        positions = count()

        def send(item: Item) -> asyncio.Future[Result | Failure]:
            known_as = str(next(positions))
            return self._send_item(replies, _request(item, known_as, options or {}), envelope)

        async with aclosing(mapped(texts, send, max_in_flight=max_in_flight, ordered=ordered)) as finished:
            async for future in finished:
                reply = future.result()
                yield reply if isinstance(reply, Failure) else answer_of(reply)

    def _send_item(
        self, replies: Replies, item: Request | Failure, envelope: Envelope
    ) -> asyncio.Future[Result | Failure]:
        """Like `_send`, with an id on the way that is unique even where those of the items are not."""
        if isinstance(item, Request):
            known_as = item.id or ""
            try:
                on_the_way = structs.replace(item, id=f"{known_as}#{self._new_id()}")
                return self._send(replies, on_the_way, envelope, known_as)
            except BadRequest as error:
                item = Failure(known_as, replies.task, error.code, str(error))
        done: asyncio.Future[Result | Failure] = asyncio.get_running_loop().create_future()
        done.set_result(item)
        return done

    def _send(
        self, replies: Replies, request: Request, envelope: Envelope, known_as: str
    ) -> asyncio.Future[Result | Failure]:
        if not self._open:
            raise ShuttingDown(CLOSED)
        message = Sender(self._topics(replies.task).requests, self._clock).message(request, envelope)
        return replies.expect(request.id or "", self._broker.publish(message), envelope.timeout_s, known_as)

    def _new_id(self) -> str:
        return f"{self._token}-{next(self._numbers)}"

    def _topics(self, task: str) -> Topics:
        return Topics(task, self._prefix)

    def _reply_topic_of(self, task: str) -> str:
        return self._reply_topic.format(task=task) if self._reply_topic else self._topics(task).replies

    async def _replies_of(self, task: str, timeout_s: float | None) -> Replies:
        """The open reply topic of ``task``. Raises BrokerError where a topic is missing, Timeout."""
        if not self._open:
            raise ShuttingDown(CLOSED)
        try:
            async with asyncio.timeout(timeout_s), self._opening:
                if task in self._replies and not self._replies[task].alive:
                    await self._replies.pop(task).close()
                if task not in self._replies:
                    await self._require(task, self._topics(task).requests)
                    await self._require(task, self._reply_topic_of(task))
                    self._replies[task] = await Replies.open(self._broker, task, self._reply_topic_of(task))
        except TimeoutError as error:
            raise Timeout(f"The broker did not answer within {timeout_s:g} s: is it reachable?") from error
        return self._replies[task]

    async def _require(self, task: str, topic: str) -> None:
        if await self._broker.partitions(topic) is None:
            raise BrokerError(
                f"There is no topic {topic}: start a worker, which makes it: `inferstream worker {task}{self._where}`."
            )


def _request(item: Item, known_as: str, options: Mapping[str, Any]) -> Request | Failure:
    if isinstance(item, Failure):
        return item
    given = Request(text=item) if isinstance(item, str) else item
    return structs.replace(given, id=given.id or known_as, options={**options, **given.options})


def _connection(config: KafkaConfig, embedded: Path | str | None) -> tuple[Broker, str]:
    """The broker, and the option of the command line that names it."""
    if embedded is not None:
        from ..broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(Path(embedded)), f" --embedded {embedded}"
    from ..broker.kafka.broker import KafkaBroker

    return KafkaBroker(config), f" --kafka {config.bootstrap}"
