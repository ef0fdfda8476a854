"""A stream of captions, for programs without an event loop."""

from contextlib import suppress
from typing import Self

from ...errors import ShuttingDown, UsageError
from ..handover import Signal, next_or_ended
from ..loop_thread import LoopThread
from .caption import Caption
from .measures import StreamReport
from .stream import TranslationStream


class SyncTranslationStream:
    """Translates the segments of one speaker, in order, while they grow, see `SyncClient.translate_stream`.

    One thread may send while another one reads. A program that leaves the block before the end cancels what is
    on its way.
    """

    def __init__(self, thread: LoopThread, stream: TranslationStream) -> None:
        self.name = stream.name
        """The key of its requests, and the first part of their ids."""
        self._thread = thread
        self._stream = stream

    def __enter__(self) -> Self:
        """Open the replies. Raises as `SyncClient.request` does before a request is sent."""
        self._thread.run(self._stream.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(ShuttingDown, UsageError):  # closed; or in a fork
            self._thread.run(self._stream.__aexit__())

    def send(self, text: str, *, final: bool = True) -> None:
        """Send a whole segment, or with ``final=False`` what is known of one that still grows."""
        self._thread.run(self._stream.send(text, final=final))

    def end(self) -> None:
        """No segment follows. The last partial of a segment without a final is sent as its final."""
        self._thread.run(self._stream.end())

    def report(self) -> StreamReport:
        """How calm and how late the captions were until now."""
        return self._stream.report()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Caption:
        """The next caption. Raises the error that has ended the stream, behind the captions before it."""
        caption = self._thread.run(next_or_ended(self._stream))
        if isinstance(caption, Signal):
            raise StopIteration
        return caption
