"""A stream of captions, for programs without an event loop."""

from typing import Self

from ..loop_thread import LoopThread
from ..sync_pieces import SyncPieces
from .caption import Caption
from .measures import StreamReport
from .stream import TranslationStream


class SyncTranslationStream(SyncPieces[Caption]):
    """Translates the segments of one speaker, in order, while they grow, see `SyncClient.translate_stream`.

    One thread may send while another one reads. A program that leaves the block before the end cancels what is
    on its way.
    """

    def __init__(self, thread: LoopThread, stream: TranslationStream) -> None:
        super().__init__(thread, stream)
        self.name = stream.name
        """The key of its requests, and the first part of their ids."""
        self._stream = stream

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
