"""An answer in pieces, for programs without an event loop."""

from collections.abc import Generator
from contextlib import nullcontext
from typing import Generic

from .loop_thread import LoopThread
from .replies import Answer
from .stream import Output_co, Piece_co, Stream
from .sync_pieces import SyncPieces


class SyncStream(SyncPieces[Piece_co], Generic[Piece_co, Output_co]):
    """The answer to one request, in pieces while it is being made, see `SyncClient.stream`.

    The loop yields every piece once and in order, also if a worker is killed meanwhile, and raises the error
    of a request that fails. A program that leaves the block before the end ends its request.
    """

    def __init__(self, thread: LoopThread, stream: Stream[Piece_co, Output_co]) -> None:
        super().__init__(thread, stream)
        self.id = stream.id
        """The id of the request."""
        self._stream = stream

    def __iter__(self) -> Generator[Piece_co, None, None]:
        """All further pieces. A stream that was not entered is entered, and left at the end of the loop."""
        with nullcontext() if self._stream.is_entered else self:
            while True:
                try:
                    piece = next(self)
                except StopIteration:
                    return
                yield piece

    def answer(self) -> Answer[Output_co]:
        """The whole answer, as `SyncClient.request` gives it; waits for it. Raises the error of the request."""
        return self._thread.run(self._stream.answer())
