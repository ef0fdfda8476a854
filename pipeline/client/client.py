"""The client: sends one request and awaits its answer, or maps a stream of texts to answers."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from functools import partial
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self

from msgspec import structs

from ...schemas.cancels import Reason
from ...schemas.messages import Failure, Request, Result
from ...schemas.topics import Topics
from ..broker.base import Broker
from ..config import KafkaConfig
from ..errors import BadRequest, ShuttingDown, Timeout, UsageError
from .arguments import check, check_place
from .call import Call
from .calls import AsyncCalls
from .cancels import CancelSender, cancel_by_name, cancel_message
from .connection import check_topics, connection
from .content import id_of, item_request
from .envelope import Envelope, request_message
from .keywords import Content, Item, Items
from .labels import label_message, send_label
from .lease import ClientLease, Held
from .mapping import mapped, resolved
from .owner import Owner, Unpicklable
from .prefix_keys import PrefixKeys
from .reading import Reading
from .replies import Answer, PendingReplies, answer_of, answer_or_failure, error_of
from .stream import Stream, piece_types

CLOSED: Final = "The client is closed: send requests inside of `async with`."


class Client(AsyncCalls, Unpicklable):
    """Sends requests and returns their replies. Use it with ``async with``.

    Any number of coroutines of one event loop may share a client. Each process and each event loop opens
    its own; threads share a SyncClient.

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

    Methods raise BrokerError if the broker cannot be reached or a topic does not exist, ShuttingDown
    if the client is closed before the answer arrives, and UsageError or WrongType at once for an
    argument that may not be so, in another event loop, and after a fork.
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
        check_place(kafka, broker, embedded)
        check(reply_topic=reply_topic, prefix=prefix, clock=clock)
        config = kafka if isinstance(kafka, KafkaConfig) else KafkaConfig(bootstrap=kafka or "")
        connected, option = (broker, "") if broker else connection(config, embedded)
        self._broker = connected
        self._owned = None if broker else connected
        self._check_topics = partial(check_topics, connected, option)
        self._prefix = prefix or config.topic_prefix
        self._reply_topic = reply_topic
        self._clock = clock
        self._replies: dict[str, PendingReplies] = {}
        self._prefix_keys: dict[str, PrefixKeys] = {}
        self._opening = asyncio.Lock()
        self._token = token_hex(6)
        self._numbers = count()
        self._open = False
        self._cancels = CancelSender(connected.publish)
        self._lease = ClientLease(connected)
        self._owner: Owner | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._owner:
            raise UsageError("This client was opened before: make a new one for each `async with`.")
        self._owner = Owner.here()
        if self._owned:
            await self._stack.enter_async_context(self._owned)
        self._open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._owner and self._owner.forked:  # the sockets are the parent's
            return
        async with self._stack:
            self.abandon()
            await self._lease.close()
            for replies in self._replies.values():
                await replies.close()

    def abandon(self) -> None:
        """Refuse new requests, and fail all pending ones with ShuttingDown at once."""
        self._open = False
        for replies in self._replies.values():
            replies.abandon()

    async def _request(self, call: Call, content: Content, request_id: str | None) -> Answer[Any]:
        reply = await (await self._send(call, call.request(content, request_id, self._new_id)))
        if isinstance(reply, Failure):
            raise error_of(reply)
        return answer_of(reply, call.output)

    def _stream(self, call: Call, content: Content, request_id: str | None) -> Stream[Any, Any]:
        request = structs.replace(call.request(content, request_id, self._new_id), stream=True)
        send = partial(self._send, call, request)
        return Stream(str(request.id), send, piece_types(call.task, call.output))

    async def _send(
        self, call: Call, request: Request, reading: Reading | None = None
    ) -> asyncio.Future[Result | Failure]:
        """Publish the request. Its chunks go to ``reading``, its reply into the future."""
        replies = await self._open_replies(call)
        request_id = str(request.id)
        if replies.is_pending(request_id):
            raise UsageError(f"A request with the id {request_id} is waiting already: give each its own id.")
        return self._publish(replies, request, call.envelope, request_id, reading)

    async def _map(
        self, call: Call, items: Items, max_in_flight: int, ordered: bool
    ) -> AsyncGenerator[Answer[Any] | Failure, None]:
        replies = await self._open_replies(call)
        positions = count()
        options = call.options

        def send(item: Item) -> asyncio.Future[Result | Failure]:
            return self._publish_item(replies, item, next(positions), options, call.envelope)

        async with aclosing(mapped(items, send, max_in_flight=max_in_flight, ordered=ordered)) as finished:
            async for future in finished:
                yield answer_or_failure(future.result(), call.output)

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
            return resolved(item)
        caller_id = id_of(item) or str(position)
        try:
            request = item_request(item, replies.task, options)
            request = structs.replace(request, id=f"{caller_id}#{self._new_id()}")
            return self._publish(replies, request, envelope, caller_id)
        except BadRequest as error:
            return resolved(Failure(caller_id, replies.task, error.code, str(error)))

    def _publish(
        self,
        replies: PendingReplies,
        request: Request,
        envelope: Envelope,
        caller_id: str,
        reading: Reading | None = None,
    ) -> asyncio.Future[Result | Failure]:
        """Publish the request and return the future of its reply."""
        if not self._open:
            raise ShuttingDown(CLOSED)
        topics = self._topics(replies.task)
        reply_topic = self._reply_topic_of(replies.task)
        message = request_message(topics.requests, reply_topic, request, envelope, self._clock)
        cancels = topics.cancels
        if (lease_s := envelope.lease_s) is not None:
            message = message._replace(headers=(*message.headers, *self._lease.headers(lease_s)))
        published = self._broker.publish(message)
        cancel = partial(cancel_message, cancels, request.id or "", message.headers)
        reply = replies.expect(request.id or "", caller_id, published, envelope.timeout_s, reading, cancel)
        if lease_s is not None:
            held = Held(request.id or "", lease_s, reading)
            self._lease.hold(cancels, held, reply, partial(self._cancels.send_after, published, cancel()))
        return reply

    async def _cancel(self, call: Call, request_id: str, reason: Reason) -> None:
        replies = await self._open_replies(call)
        topic = self._topics(call.task).cancels
        await self._check_topics(call.task, topic)
        other = cancel_by_name(topic, request_id, call.envelope.tenant, reason)
        await asyncio.gather(*map(self._broker.publish, replies.cancels_of(request_id, reason) or [other]))

    async def _label(self, call: Call, content: Content, label: Mapping[str, Any]) -> None:
        self._check_open()
        message = label_message(self._topics(call.task), call, content, label)
        await send_label(self._broker, message, self._check_topics, call)

    def _check_open(self) -> None:
        if self._owner:
            self._owner.check()
        if not self._open:
            raise ShuttingDown(CLOSED)

    def _new_id(self) -> str:
        return f"{self._token}-{next(self._numbers)}"

    def _reply_topic_of(self, task: str) -> str:
        return self._reply_topic.format(task=task) if self._reply_topic else self._topics(task).replies

    def _topics(self, task: str) -> Topics:
        return Topics(task, self._prefix)

    async def _open_replies(self, call: Call) -> PendingReplies:
        """The replies of a task, opened once. Raises UsageError, ShuttingDown, BrokerError or Timeout."""
        task = call.task
        timeout_s = call.envelope.timeout_s
        self._check_open()
        try:
            async with asyncio.timeout(timeout_s), self._opening:
                if task in self._replies and not self._replies[task].alive:
                    await self._replies.pop(task).close()
                if task not in self._replies:
                    self._replies[task] = await self._consume_replies(task)
                if call.envelope.lease_s is not None:
                    await self._lease.open(self._topics(task).cancels)
        except TimeoutError as error:
            raise Timeout(f"The broker did not answer within {timeout_s:g} s: is it reachable?") from error
        return self._replies[task]

    async def _consume_replies(self, task: str) -> PendingReplies:
        reply_topic = self._reply_topic_of(task)
        await self._check_topics(task, self._topics(task).requests, reply_topic)
        return await PendingReplies.open(self._broker, task, reply_topic, self._cancels.send_after)

    async def _partitions_of(self, call: Call) -> int:
        await self._open_replies(call)
        return await self._broker.partitions(self._topics(call.task).requests) or 1
