"""The methods of `SyncClient`: those of `Client` without `await`. Their documentation is the same.

The overloads are made from the contracts in `schemas/tasks.py`; tests/client/test_types.py writes them again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal, TypeVar, Unpack, overload

from msgspec import Struct

from ...schemas.classification import ClassifyOptions, ClassifyOutput
from ...schemas.generation import GenerateOptions, GenerateOutput, Token
from ...schemas.messages import EmbedOptions, EmbedOutput, Failure, TriageOptions, TriageOutput
from ...schemas.translation import TranslateOptions, TranslateOutput
from .calls import AsyncCalls
from .captions.sync_stream import SyncTranslationStream
from .keywords import Content, Item, MapKeywords, Plain, RequestKeywords
from .likeness import like, typed_like, waiting_like
from .replies import Answer
from .sync_stream import SyncStream

Output = TypeVar("Output")


class SyncCalls(ABC):
    """Typed methods over the untyped ones of a client."""

    # Overloads of request
    @overload
    def request(
        self, task: Literal["triage"], text: Content, **how: Unpack[RequestKeywords[TriageOptions]]
    ) -> Answer[TriageOutput]: ...
    @overload
    def request(
        self, task: Literal["embed"], text: Content, **how: Unpack[RequestKeywords[EmbedOptions]]
    ) -> Answer[EmbedOutput]: ...
    @overload
    def request(
        self, task: Literal["classify"], text: Content, **how: Unpack[RequestKeywords[ClassifyOptions]]
    ) -> Answer[ClassifyOutput]: ...
    @overload
    def request(
        self, task: Literal["translate"], text: Content, **how: Unpack[RequestKeywords[TranslateOptions]]
    ) -> Answer[TranslateOutput]: ...
    @overload
    def request(
        self, task: Literal["generate"], text: Content, **how: Unpack[RequestKeywords[GenerateOptions]]
    ) -> Answer[GenerateOutput]: ...
    @overload
    def request(
        self, task: str, text: Content, *, output: type[Output], **how: Unpack[RequestKeywords[Struct]]
    ) -> Answer[Output]: ...
    @overload
    def request(self, task: str, text: Content, **how: Unpack[RequestKeywords[Plain]]) -> Answer[Any]: ...

    # End of overloads

    @like(AsyncCalls.request)
    def request(self, task: str, text: Content, **how: Any) -> Answer[Any]:
        return self._request(task, text, how)

    # Overloads of stream
    @overload
    def stream(
        self, task: Literal["triage"], text: Content, **how: Unpack[RequestKeywords[TriageOptions]]
    ) -> SyncStream[Any, TriageOutput]: ...
    @overload
    def stream(
        self, task: Literal["embed"], text: Content, **how: Unpack[RequestKeywords[EmbedOptions]]
    ) -> SyncStream[Any, EmbedOutput]: ...
    @overload
    def stream(
        self, task: Literal["classify"], text: Content, **how: Unpack[RequestKeywords[ClassifyOptions]]
    ) -> SyncStream[Any, ClassifyOutput]: ...
    @overload
    def stream(
        self, task: Literal["translate"], text: Content, **how: Unpack[RequestKeywords[TranslateOptions]]
    ) -> SyncStream[Any, TranslateOutput]: ...
    @overload
    def stream(
        self, task: Literal["generate"], text: Content, **how: Unpack[RequestKeywords[GenerateOptions]]
    ) -> SyncStream[Token, GenerateOutput]: ...
    @overload
    def stream(
        self, task: str, text: Content, *, output: type[Output], **how: Unpack[RequestKeywords[Struct]]
    ) -> SyncStream[Any, Output]: ...
    @overload
    def stream(
        self, task: str, text: Content, **how: Unpack[RequestKeywords[Plain]]
    ) -> SyncStream[Any, Any]: ...

    # End of overloads

    @like(AsyncCalls.stream)
    def stream(self, task: str, text: Content, **how: Any) -> SyncStream[Any, Any]:
        return self._stream(task, text, how)

    # Overloads of map
    @overload
    def map(
        self, task: Literal["triage"], texts: Iterable[Item], **how: Unpack[MapKeywords[TriageOptions]]
    ) -> Generator[Answer[TriageOutput] | Failure, None, None]: ...
    @overload
    def map(
        self, task: Literal["embed"], texts: Iterable[Item], **how: Unpack[MapKeywords[EmbedOptions]]
    ) -> Generator[Answer[EmbedOutput] | Failure, None, None]: ...
    @overload
    def map(
        self, task: Literal["classify"], texts: Iterable[Item], **how: Unpack[MapKeywords[ClassifyOptions]]
    ) -> Generator[Answer[ClassifyOutput] | Failure, None, None]: ...
    @overload
    def map(
        self, task: Literal["translate"], texts: Iterable[Item], **how: Unpack[MapKeywords[TranslateOptions]]
    ) -> Generator[Answer[TranslateOutput] | Failure, None, None]: ...
    @overload
    def map(
        self, task: Literal["generate"], texts: Iterable[Item], **how: Unpack[MapKeywords[GenerateOptions]]
    ) -> Generator[Answer[GenerateOutput] | Failure, None, None]: ...
    @overload
    def map(
        self, task: str, texts: Iterable[Item], *, output: type[Output], **how: Unpack[MapKeywords[Struct]]
    ) -> Generator[Answer[Output] | Failure, None, None]: ...
    @overload
    def map(
        self, task: str, texts: Iterable[Item], **how: Unpack[MapKeywords[Plain]]
    ) -> Generator[Answer[Any] | Failure, None, None]: ...

    # End of overloads

    @like(AsyncCalls.map)
    def map(
        self, task: str, texts: Iterable[Item], **how: Any
    ) -> Generator[Answer[Any] | Failure, None, None]:
        return self._map(task, texts, how)

    @waiting_like(AsyncCalls.cancel)
    def cancel(self, *args: Any, **how: Any) -> None:
        self._cancel(args, how)

    @waiting_like(AsyncCalls.label)
    def label(self, *args: Any, **how: Any) -> None:
        self._label(args, how)

    @typed_like(AsyncCalls.translate_stream)
    def translate_stream(self, *args: Any, **how: Any) -> SyncTranslationStream:
        return self._translate_stream(args, how)

    @typed_like(AsyncCalls.generate)
    def generate(self, *args: Any, **how: Any) -> SyncStream[Token, GenerateOutput]:
        return self._generate(AsyncCalls.generate, args, how)

    @typed_like(AsyncCalls.chat)
    def chat(self, *args: Any, **how: Any) -> SyncStream[Token, GenerateOutput]:
        return self._generate(AsyncCalls.chat, args, how)

    @abstractmethod
    def _generate(
        self, method: Callable[..., Any], args: tuple[Any, ...], how: dict[str, Any]
    ) -> SyncStream[Token, GenerateOutput]: ...

    @abstractmethod
    def _translate_stream(self, args: tuple[Any, ...], how: dict[str, Any]) -> SyncTranslationStream: ...

    @abstractmethod
    def _label(self, args: tuple[Any, ...], how: dict[str, Any]) -> None: ...

    @abstractmethod
    def _cancel(self, args: tuple[Any, ...], how: dict[str, Any]) -> None: ...

    @abstractmethod
    def _request(self, task: str, text: Content, how: dict[str, Any]) -> Answer[Any]: ...

    @abstractmethod
    def _stream(self, task: str, text: Content, how: dict[str, Any]) -> SyncStream[Any, Any]: ...

    @abstractmethod
    def _map(
        self, task: str, texts: Iterable[Item], how: dict[str, Any]
    ) -> Generator[Answer[Any] | Failure, None, None]: ...
