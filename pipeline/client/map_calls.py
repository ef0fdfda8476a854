"""`Client.map`: its types, its documentation, and the check of its arguments.

The overloads are made from the contracts in `schemas/tasks.py`; tests/client/test_types.py writes them again.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal, TypeVar, Unpack, overload

from msgspec import Struct

from ...schemas.classification import ClassifyOptions, ClassifyOutput
from ...schemas.generation import GenerateOptions, GenerateOutput
from ...schemas.messages import EmbedOptions, EmbedOutput, Failure, TriageOptions, TriageOutput
from ...schemas.translation import TranslateOptions, TranslateOutput
from .arguments import check
from .call import Call
from .envelope import Envelope
from .keywords import DEFAULT_TIMEOUT_S, Items, MapKeywords, Plain, Priority
from .replies import Answer

Output = TypeVar("Output")


class MapCalls(ABC):
    """A typed `map` over the untyped one of a client."""

    # Overloads of map
    @overload
    def map(
        self, task: Literal["triage"], texts: Items, **how: Unpack[MapKeywords[TriageOptions]]
    ) -> AsyncGenerator[Answer[TriageOutput] | Failure, None]: ...
    @overload
    def map(
        self, task: Literal["embed"], texts: Items, **how: Unpack[MapKeywords[EmbedOptions]]
    ) -> AsyncGenerator[Answer[EmbedOutput] | Failure, None]: ...
    @overload
    def map(
        self, task: Literal["classify"], texts: Items, **how: Unpack[MapKeywords[ClassifyOptions]]
    ) -> AsyncGenerator[Answer[ClassifyOutput] | Failure, None]: ...
    @overload
    def map(
        self, task: Literal["translate"], texts: Items, **how: Unpack[MapKeywords[TranslateOptions]]
    ) -> AsyncGenerator[Answer[TranslateOutput] | Failure, None]: ...
    @overload
    def map(
        self, task: Literal["generate"], texts: Items, **how: Unpack[MapKeywords[GenerateOptions]]
    ) -> AsyncGenerator[Answer[GenerateOutput] | Failure, None]: ...
    @overload
    def map(
        self, task: str, texts: Items, *, output: type[Output], **how: Unpack[MapKeywords[Struct]]
    ) -> AsyncGenerator[Answer[Output] | Failure, None]: ...
    @overload
    def map(
        self, task: str, texts: Items, **how: Unpack[MapKeywords[Plain]]
    ) -> AsyncGenerator[Answer[Any] | Failure, None]: ...

    # End of overloads

    def map(
        self,
        task: str,
        texts: Items,
        *,
        model: str | None = None,
        options: Struct | Mapping[str, Any] | None = None,
        tenant: str | None = None,
        priority: Priority | None = None,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        lease_s: float | None = None,
        max_in_flight: int = 256,
        ordered: bool = True,
        output: Any = None,
    ) -> AsyncGenerator[Answer[Any] | Failure, None]:
        """Send a request for each text and yield its Answer or its Failure. Memory use is constant.

        Reads ``texts`` only as fast as the answers are consumed. An item is a text; or a Request, whose
        own options override ``options``; or a Failure, which is yielded in its place. The id of a reply
        is the id of its item, also if several items have the same; if the item has no id, its position,
        from 0.

        Args:
            max_in_flight: maximum number of requests that are sent and whose answer is not consumed yet.
            ordered: yield the answers in the order of ``texts``; otherwise in the order of arrival.

        The other arguments are those of `request`. Raises Fatal errors, and ShuttingDown if the client is
        closed; every other error is the Failure of its item. What ``texts`` raises, is raised after the
        answers to the items before it.
        """
        check(texts=texts, max_in_flight=max_in_flight, ordered=ordered)
        call = Call(task, Envelope(model, tenant, priority, timeout_s, lease_s=lease_s), options, output)
        return self._map(call, texts, max_in_flight, ordered)

    @abstractmethod
    def _map(
        self, call: Call, items: Items, max_in_flight: int, ordered: bool
    ) -> AsyncGenerator[Answer[Any] | Failure, None]: ...
