"""The methods of `Client`: their types, their documentation, and the check of their arguments.

The overloads are made from the contracts in `schemas/tasks.py`; tests/client/test_types.py writes them again.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Unpack, overload

from msgspec import Struct

from ...schemas.cancels import Reason
from ...schemas.classification import ClassifyOptions, ClassifyOutput
from ...schemas.generation import GenerateOptions, GenerateOutput, Token
from ...schemas.messages import EmbedOptions, EmbedOutput, TriageOptions, TriageOutput
from ...schemas.translation import TranslateOptions, TranslateOutput
from ..errors import UsageError
from .arguments import check, shown
from .call import Call
from .captions.calls import CaptionCalls
from .envelope import Envelope
from .generation.calls import GenerateCalls
from .keywords import (
    DEFAULT_TIMEOUT_S,
    STREAM_LEASE_S,
    Content,
    Plain,
    Priority,
    RequestKeywords,
)
from .map_calls import MapCalls
from .replies import Answer
from .stream import Stream

Output = TypeVar("Output")


class AsyncCalls(MapCalls, CaptionCalls, GenerateCalls):
    """Typed methods over the untyped ones of a client."""

    # Overloads of request
    @overload
    async def request(
        self, task: Literal["triage"], text: Content, **how: Unpack[RequestKeywords[TriageOptions]]
    ) -> Answer[TriageOutput]: ...
    @overload
    async def request(
        self, task: Literal["embed"], text: Content, **how: Unpack[RequestKeywords[EmbedOptions]]
    ) -> Answer[EmbedOutput]: ...
    @overload
    async def request(
        self, task: Literal["classify"], text: Content, **how: Unpack[RequestKeywords[ClassifyOptions]]
    ) -> Answer[ClassifyOutput]: ...
    @overload
    async def request(
        self, task: Literal["translate"], text: Content, **how: Unpack[RequestKeywords[TranslateOptions]]
    ) -> Answer[TranslateOutput]: ...
    @overload
    async def request(
        self, task: Literal["generate"], text: Content, **how: Unpack[RequestKeywords[GenerateOptions]]
    ) -> Answer[GenerateOutput]: ...
    @overload
    async def request(
        self, task: str, text: Content, *, output: type[Output], **how: Unpack[RequestKeywords[Struct]]
    ) -> Answer[Output]: ...
    @overload
    async def request(
        self, task: str, text: Content, **how: Unpack[RequestKeywords[Plain]]
    ) -> Answer[Any]: ...

    # End of overloads

    async def request(
        self,
        task: str,
        text: Content,
        *,
        id: str | None = None,  # noqa: A002
        model: str | None = None,
        options: Struct | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        priority: Priority | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        key: bytes | None = None,
        traceparent: str | None = None,
        lease_s: float | None = None,
        output: Any = None,
    ) -> Answer[Any]:
        """Send one request and wait for its answer.

        Args:
            task: the name of the task, e.g. ``triage``. It decides the type of the answer's ``output``.
            text: the text for the model; or a Request, for a task whose content is not one text.
            id: your id of the request, unique among the pending ones. Default: a new id.
            model: the name of a model that the workers serve. Default: the first model of the worker.
            options: options of the task: a dict, or the task's own type, e.g. ``TriageOptions(threshold=0.7)``.
            tenant: the tenant of the request. Cached answers are never shared between tenants.
            priority: ``high``, ``normal`` or ``low``. Default: ``normal``.
            timeout_s: seconds to wait for the answer; a worker does not start the request later than
                that. None: no limit.
            key: the record key. Requests of one key are answered in order. Default: a hash of the
                content, without an order.
            traceparent: W3C Trace Context, copied to the reply. Default: a new trace.
            lease_s: if this process ends without an answer, workers drop the request after this many seconds.
                Default: it runs to its end.
            output: the type of the answer's ``output``, for a task that is not one of ours.

        If it is cancelled, or times out, workers drop the request. Raises the error with the ``code`` of the
        failure (see `errors.py`), or Timeout.
        """
        check(text=text, id=id)
        envelope = Envelope(model, tenant, priority, timeout_s, key, traceparent, lease_s)
        call = Call(task, envelope, options, output)
        return await self._request(call, text, id)

    # Overloads of stream
    @overload
    def stream(
        self, task: Literal["triage"], text: Content, **how: Unpack[RequestKeywords[TriageOptions]]
    ) -> Stream[Any, TriageOutput]: ...
    @overload
    def stream(
        self, task: Literal["embed"], text: Content, **how: Unpack[RequestKeywords[EmbedOptions]]
    ) -> Stream[Any, EmbedOutput]: ...
    @overload
    def stream(
        self, task: Literal["classify"], text: Content, **how: Unpack[RequestKeywords[ClassifyOptions]]
    ) -> Stream[Any, ClassifyOutput]: ...
    @overload
    def stream(
        self, task: Literal["translate"], text: Content, **how: Unpack[RequestKeywords[TranslateOptions]]
    ) -> Stream[Any, TranslateOutput]: ...
    @overload
    def stream(
        self, task: Literal["generate"], text: Content, **how: Unpack[RequestKeywords[GenerateOptions]]
    ) -> Stream[Token, GenerateOutput]: ...
    @overload
    def stream(
        self, task: str, text: Content, *, output: type[Output], **how: Unpack[RequestKeywords[Struct]]
    ) -> Stream[Any, Output]: ...
    @overload
    def stream(self, task: str, text: Content, **how: Unpack[RequestKeywords[Plain]]) -> Stream[Any, Any]: ...

    # End of overloads

    def stream(
        self,
        task: str,
        text: Content,
        *,
        id: str | None = None,  # noqa: A002
        model: str | None = None,
        options: Struct | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        priority: Priority | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        key: bytes | None = None,
        traceparent: str | None = None,
        lease_s: float | None = STREAM_LEASE_S,
        output: Any = None,
    ) -> Stream[Any, Any]:
        """Send one request, and get its answer in pieces while it is being made::

            async with client.stream("generate", "Tell me a story") as stream:
                async for piece in stream:
                    print(piece, end="", flush=True)
                answer = await stream.answer()

        The request is sent on entering. The arguments and errors are those of `request`; ``timeout_s`` counts
        until the end of the answer, and ``lease_s`` is 10 s unless it is given. Pieces of a task that is not
        installed here are plain JSON, and an answer of it from the cache comes whole.
        """
        check(text=text, id=id)
        envelope = Envelope(model, tenant, priority, timeout_s, key, traceparent, lease_s)
        return self._stream(Call(task, envelope, options, output), text, id)

    async def cancel(
        self,
        id: str,  # noqa: A002
        *,
        task: str,
        reason: Reason = "cancelled",
        tenant: str | None = None,
    ) -> None:
        """End a request before its answer; returns when the broker has the cancel. It may come too late.

        Any client may cancel a request, not only the one that has sent it. The sender gets Cancelled or, with
        the reason ``superseded``, Superseded.

        Args:
            id: the id of the request; of an item of `map` its id or position.
            task: the task of the request.
            tenant: the tenant of the request: the cancel of another one has no effect.
        """
        if not isinstance(id, str):
            raise UsageError(f"`id` must be the id of a request, not {shown(id)}.")
        check(task=task, reason=reason, tenant=tenant)
        await self._cancel(Call(task, Envelope(tenant=tenant)), id, reason)

    async def label(
        self,
        task: str,
        text: Content,
        label: Mapping[str, Any],
        *,
        options: Struct | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Tell the workers the right answer to a request, as when a person has corrected it.

        Workers judge a new version by it that is on trial (docs/rollouts.md). Returns when the broker has it.

        Args:
            task: the name of the task.
            text: the text of the request, or a Request.
            label: values of the right answer, as {"category": "billing"}.
            options: options of the request.
            tenant: the tenant of the request.
            timeout_s: seconds to wait for the broker.
        """
        check(text=text, label=label)
        await self._label(Call(task, Envelope(tenant=tenant, timeout_s=timeout_s), options), text, label)

    @abstractmethod
    async def _label(self, call: Call, content: Content, label: Mapping[str, Any]) -> None: ...

    @abstractmethod
    async def _cancel(self, call: Call, request_id: str, reason: Reason) -> None: ...

    @abstractmethod
    async def _request(self, call: Call, content: Content, request_id: str | None) -> Answer[Any]: ...

    @abstractmethod
    def _stream(self, call: Call, content: Content, request_id: str | None) -> Stream[Any, Any]: ...
