"""What a stream gives one by one, for programs without an event loop."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Generic, Protocol, Self, TypeVar

from ..errors import ShuttingDown, UsageError
from .handover import Signal, next_or_ended
from .loop_thread import LoopThread

Piece_co = TypeVar("Piece_co", covariant=True)


class Entered(Protocol[Piece_co]):
    """A stream of the client: it is entered, read and left on its event loop."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    def __aiter__(self) -> AsyncIterator[Piece_co]: ...

    async def __anext__(self) -> Piece_co: ...


class SyncPieces(Generic[Piece_co]):
    """Enters, reads and leaves a stream from any thread."""

    def __init__(self, thread: LoopThread, pieces: Entered[Piece_co]) -> None:
        self._thread = thread
        self._pieces = pieces

    def __enter__(self) -> Self:
        """Raises as `SyncClient.request` does before a request is sent."""
        self._thread.run(self._pieces.__aenter__())
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(ShuttingDown, UsageError):  # closed; or in a fork
            self._thread.run(self._pieces.__aexit__())

    def __next__(self) -> Piece_co:
        """The next one. After the last one raises the error of the stream, if it has failed."""
        piece = self._thread.run(next_or_ended(self._pieces))
        if isinstance(piece, Signal):
            raise StopIteration
        return piece
