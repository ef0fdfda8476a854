"""A stream of captions: segments in, their translations out, in order, while they still grow."""

from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from functools import partial
from typing import Self

from msgspec import Struct

from ...errors import InferstreamError, UsageError, WrongType
from ..arguments import shown
from .caption import Caption
from .measures import StreamReport
from .modes import Mode, shown_in
from .open_stream import OpenStream
from .requests import StreamRequests


class Partial(Struct, frozen=True):
    """A segment that still grows, among the segments that a stream is given."""

    text: str


Segments = Iterable[str | Partial] | AsyncIterable[str | Partial]


class TranslationStream:
    """Translates the segments of one speaker, in order, while they grow. Use it with ``async with``.

    ::

        async with client.translate_stream("en", "pt") as stream:
            await stream.send("I was charged", final=False)
            await stream.send("I was charged twice.")
            await stream.end()
            async for caption in stream:
                print(caption.segment, caption.text, caption.final)

    One task may send while another one reads. A program that leaves the block before the end cancels what is
    on its way.
    """

    def __init__(
        self, requests: StreamRequests, mode: Mode, hold_back_s: float, segments: Segments | None = None
    ) -> None:
        self.name = requests.name
        """The key of its requests, and the first part of their ids."""
        self._requests = requests
        self._shown = partial(shown_in, mode, hold_back_s)
        self._given = segments
        self._entered: OpenStream | None = None
        self._ended = False
        self._broken: Exception | None = None  # of the iterable of segments: raised behind all captions

    @property
    def is_fed(self) -> bool:
        """Whether it reads the segments that it was given."""
        return self._given is not None

    async def __aenter__(self) -> Self:
        """Open the replies. Raises as `Client.request` does before a request is sent."""
        if self._entered is not None:
            raise UsageError("This stream was entered before: ask for a new one.")
        self._entered = OpenStream(self._requests, self._shown)
        await self._requests.open()
        if self._given is not None:
            self._entered.start(self._feed(self._given))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._entered is not None:
            await self._entered.close()

    async def send(self, text: str, *, final: bool = True) -> None:
        """Send a whole segment, or with ``final=False`` what is known of one that still grows.

        A final ends the partials before it, and a partial after a final begins the next segment. Waits while
        many finals are on their way. Raises the error that has ended the stream, and UsageError if it was ended
        by `end`, or if too much was not read.
        """
        if not isinstance(text, str):
            raise WrongType(f"`text` must be a string, not {shown(text)}.")
        if not isinstance(final, bool):
            raise UsageError(f"`final` must be True or False, not {shown(final)}.")
        if self._given is not None:
            raise UsageError("This stream reads the segments that it was given: give none, to send them.")
        if self._opened.segments.is_full:
            count = len(self._opened.segments)
            raise UsageError(
                f"{count} segments were not read: read the stream in another task while you send."
            )
        await self._take(text, final)

    async def end(self) -> None:
        """No segment follows. The last partial of a segment without a final is sent as its final."""
        opened = self._opened
        if not self._ended:
            self._ended = True
            if opened.error is None:
                await opened.end()
        opened.changed.set()

    def report(self) -> StreamReport:
        """How calm and how late the captions were until now."""
        return self._opened.measures.report()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Caption:
        """The next caption. A reader that is slower than the captions gets the newest one of each segment.

        Raises the error that has ended the stream, behind the captions that came before it.
        """
        opened = self._opened
        while True:
            opened.changed.clear()
            if (caption := opened.take()) is not None:
                return caption
            if opened.error is not None:
                raise opened.error
            if self._ended and not opened.segments:
                raise self._broken or StopAsyncIteration
            await opened.changed.wait()

    @property
    def _opened(self) -> OpenStream:
        if self._entered is None:
            raise UsageError("Enter the stream first: `async with client.translate_stream(…) as stream`.")
        return self._entered

    async def _take(self, text: str, final: bool) -> None:
        opened = self._opened
        if opened.error is not None:
            raise opened.error
        if self._ended:
            raise UsageError("This stream was ended: ask for a new one.")
        if final:
            await opened.final(text)
        else:
            opened.partial(text)

    async def _feed(self, segments: Segments) -> None:
        """Send what the iterable gives, as fast as the captions are read. What it raises comes behind all captions."""
        try:
            if isinstance(segments, AsyncIterable):
                async for item in segments:
                    await self._take_item(item)
            else:
                for item in segments:
                    await self._take_item(item)
        except Exception as error:
            self._broken = error
        with suppress(InferstreamError):
            await self.end()

    async def _take_item(self, item: object) -> None:
        if not isinstance(item, str | Partial):
            raise WrongType(f"A segment is a string or a Partial, not {shown(item)}.")
        opened = self._opened
        await opened.until(lambda: not opened.segments.is_full)
        if isinstance(item, str):
            await self._take(item, final=True)
        else:
            await self._take(item.text, final=False)
