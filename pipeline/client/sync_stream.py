"""An answer in pieces, for programs without an event loop."""

from collections.abc import Generator
from contextlib import nullcontext, suppress
from typing import Generic, Self

from ..errors import ShuttingDown, UsageError
from .handover import Signal, next_or_ended
from .loop_thread import LoopThread
from .replies import Answer
from .stream import Output_co, Piece_co, Stream


class SyncStream(Generic[Piece_co, Output_co]):
    """The answer to one request, in pieces while it is being made, see `SyncClient.stream`.

    The loop yields every piece once and in order, also if a worker is killed meanwhile, and raises the error
    of a request that fails. A program that leaves the block before the end ends its request.
    """

    def __init__(self, thread: LoopThread, stream: Stream[Piece_co, Output_co]) -> None:
        self.id = stream.id
        """The id of the request."""
        self._thread = thread
        self._stream = stream

    def __enter__(self) -> Self:
        """Send the request. Raises as `SyncClient.request` does before a request is sent."""
        self._thread.run(self._stream.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(ShuttingDown, UsageError):  # closed; or in a fork
            self._thread.run(self._stream.__aexit__())

    def __iter__(self) -> Generator[Piece_co, None, None]:
        """All further pieces. A stream that was not entered is entered, and left at the end of the loop."""
        with nullcontext() if self._stream.is_entered else self:
            while True:
                try:
                    piece = next(self)
                except StopIteration:
                    return
                yield piece

    def __next__(self) -> Piece_co:
        """The next piece. After the last one raises the error of the request, if it has failed."""
        piece = self._thread.run(next_or_ended(self._stream))
        if isinstance(piece, Signal):
            raise StopIteration
        return piece

    def answer(self) -> Answer[Output_co]:
        """The whole answer, as `SyncClient.request` gives it; waits for it. Raises the error of the request."""
        return self._thread.run(self._stream.answer())
