"""`Client.generate` and `Client.chat`: their documentation, and the check of their arguments."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

from msgspec import structs

from ....schemas.generation import GenerateOptions, GenerateOutput, GenerateRequest, Token
from ....schemas.messages import Failure, Request, Result
from ..arguments import check
from ..call import Call
from ..envelope import Envelope
from ..keywords import STREAM_LEASE_S, Priority
from ..prefix_keys import SPREAD, Beginning, PrefixKeys, beginning_of, conversation_key
from ..reading import Reading
from ..stream import Stream, piece_types
from .messages import Messages, messages_of

TASK = "generate"
TIMEOUT_S = 300.0
"""A long text takes minutes on a CPU."""

Options = GenerateOptions | Mapping[str, Any]


class GenerateCalls(ABC):
    """Generated texts over the untyped methods of a client."""

    _prefix_keys: dict[str, PrefixKeys]

    def generate(
        self,
        prompt: str,
        *,
        options: Options | None = None,
        id: str | None = None,  # noqa: A002
        model: str | None = None,
        tenant: str | None = None,
        priority: Priority | None = None,
        timeout_s: float | None = TIMEOUT_S,
        lease_s: float | None = STREAM_LEASE_S,
        spread: int = SPREAD,
    ) -> Stream[Token, GenerateOutput]:
        """Go on with a text, and get what is generated token by token::

            async for token in client.generate("Once upon a time", options={"max_tokens": 64}):
                print(token.text, end="", flush=True)

        The request is sent when the loop begins. A program that leaves the loop ends it. For the whole answer, with
        the usage and the times, enter the stream: ``async with client.generate(…) as stream``, then
        ``await stream.answer()``.

        Args:
            prompt: the beginning of the text, as the model reads it: no template is applied.
            options: a dict or GenerateOptions.
            timeout_s: seconds until the end of the text, the time in the queue included.
            lease_s: if this process ends, workers drop the request after this many seconds.
            spread: over how many partitions prompts that begin alike are spread, while these are not full. The worker
                of each reads that beginning once. More than the topic has means all.

        All other arguments, and the errors, are those of `request`. Prompts that begin alike go to few partitions,
        whose workers have read that beginning before.
        """
        check(text=prompt, spread=spread)
        envelope = Envelope(model, tenant, priority, timeout_s, lease_s=lease_s)
        return self._generate(Call(TASK, envelope, options), GenerateRequest(text=prompt), id, spread)

    def chat(
        self,
        messages: Messages,
        *,
        conversation: str | None = None,
        options: Options | None = None,
        id: str | None = None,  # noqa: A002
        model: str | None = None,
        tenant: str | None = None,
        priority: Priority | None = None,
        timeout_s: float | None = TIMEOUT_S,
        lease_s: float | None = STREAM_LEASE_S,
        spread: int = SPREAD,
    ) -> Stream[Token, GenerateOutput]:
        """Answer a conversation token by token::

            messages = [{"role": "user", "content": "Why is the sky blue?"}]
            async for token in client.chat(messages):
                print(token.text, end="", flush=True)

        Args:
            messages: all turns so far, with a ``role`` (system, user or assistant) and a ``content``.
            conversation: its name, unique among those of the tenant. It is the record key: its turns are answered in
                order, by a worker that has read the turns before. Without one, the beginning of the messages chooses
                the worker, without an order.
            spread: see `generate`; for messages without a ``conversation``.

        All other arguments, and the errors, are those of `generate`.
        """
        check(name=conversation, tenant=tenant, spread=spread)
        key = None if conversation is None else conversation_key(conversation, tenant)
        envelope = Envelope(model, tenant, priority, timeout_s, key, lease_s=lease_s)
        request = GenerateRequest(messages=messages_of(messages))
        return self._generate(Call(TASK, envelope, options), request, id, spread)

    def _generate(
        self, call: Call, content: GenerateRequest, request_id: str | None, spread: int
    ) -> Stream[Token, GenerateOutput]:
        request = structs.replace(call.request(content, request_id, self._new_id), stream=True)
        prompt = content.messages if isinstance(content.messages, list) else str(content.text)
        send = partial(self._send, call, request)
        if call.envelope.key is None:
            send = partial(self._send_near, call, request, beginning_of(prompt), spread)
        return Stream(str(request.id), send, piece_types(TASK))

    async def _send_near(
        self,
        call: Call,
        request: Request,
        beginning: Beginning,
        spread: int,
        reading: Reading | None = None,
    ) -> asyncio.Future[Result | Failure]:
        """Send it to a partition whose worker may have read the beginning of the prompt."""
        if (keys := self._prefix_keys.get(call.task)) is None:
            made = PrefixKeys(await self._partitions_of(call))
            keys = self._prefix_keys.setdefault(call.task, made)  # another request may have come first
        near = keys.take(beginning, spread)
        ended = partial(keys.end, near)
        try:
            envelope = structs.replace(call.envelope, near=near)
            reply = await self._send(structs.replace(call, envelope=envelope), request, reading)
        except BaseException:
            ended()
            raise
        reply.add_done_callback(lambda _: ended())
        return reply

    @abstractmethod
    def _new_id(self) -> str: ...

    @abstractmethod
    async def _partitions_of(self, call: Call) -> int: ...

    @abstractmethod
    async def _send(
        self, call: Call, request: Request, reading: Reading | None = None
    ) -> asyncio.Future[Result | Failure]: ...
