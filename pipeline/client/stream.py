"""An answer in pieces, while it is being made."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

import msgspec

from ...schemas.messages import Chunk, Failure, Result
from ..errors import InferstreamError, UsageError
from ..tasks.catalogue import contract_of
from .pieces import Pieces
from .reading import Reading
from .replies import Answer, answer_of, decoder, error_of

Piece_co = TypeVar("Piece_co", covariant=True)
Output_co = TypeVar("Output_co", covariant=True)

Send = Callable[[Reading], Awaitable["asyncio.Future[Result | Failure]"]]
"""Sends the request. Its chunks go to the reading that it gets, its reply into the future that it returns."""


TORN: Final = (
    "The answer was made again and begins otherwise than the pieces that were shown: "
    "`await stream.answer()` has it."
)


class PieceTypes(NamedTuple):
    """How an answer is read: the types of its output and of a piece, and what makes all pieces of the output."""

    output: Any = None
    piece: Any = Any
    pieces: Callable[[Any], Sequence[Any]] | None = None


def piece_types(task: str, output: Any = None) -> PieceTypes:
    """Those of the task's contract, with another type of ``output`` if one is given."""
    contract = contract_of(task)
    if contract is None:
        return PieceTypes(output)
    piece = Any if contract.piece is None else contract.piece
    # What makes the pieces reads the contract's own type.
    return PieceTypes(output, piece, None if output else contract.pieces)


class Stream(Generic[Piece_co, Output_co]):
    """The answer to one request, in pieces while it is being made.

    ::

        async with client.stream("generate", "Tell me a story") as stream:
            async for piece in stream:
                print(piece, end="", flush=True)
            answer = await stream.answer()

    The loop yields every piece once and in order, also if a worker is killed meanwhile, and raises the error
    of a request that fails. A program that leaves the block before the end ends its request.
    """

    def __init__(self, request_id: str, send: Send, types: PieceTypes) -> None:
        self.id = request_id
        """The id of the request."""
        self._send = send
        self._types = types
        self._pieces = Pieces()
        self._reading = Reading(self._add)
        self._changed = asyncio.Event()
        self._reply: asyncio.Future[Result | Failure] | None = None
        self._answer: Answer[Any] | None = None
        self._error: BaseException | None = None
        self._torn: InferstreamError | None = None

    async def __aenter__(self) -> Self:
        """Send the request. Raises as `Client.request` does before a request is sent."""
        if self._reply is not None:
            raise UsageError("This stream was entered before: ask for a new one.")
        self._reply = await self._send(self._reading)
        self._reply.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.cancel()  # that cancels the request

    @property
    def is_entered(self) -> bool:
        return self._reply is not None

    async def __aiter__(self) -> AsyncGenerator[Piece_co, None]:
        """All further pieces. A stream that was not entered is entered, and left at the end of the loop."""
        async with nullcontext() if self.is_entered else self:
            while True:
                try:
                    piece = await self.__anext__()
                except StopAsyncIteration:
                    return
                yield piece

    async def __anext__(self) -> Piece_co:
        """The next piece. After the last one raises the error of the request, if it has failed."""
        while not (self._pieces or self._torn or self._has_ended()):
            await self._change()
        if not self._pieces:
            raise self._error or self._torn or StopAsyncIteration
        piece: Piece_co = self._pieces.take()
        self._reading.took()
        return piece

    async def answer(self) -> Answer[Output_co]:
        """The whole answer, as `Client.request` gives it; waits for it. Raises the error of the request."""
        self._reading.took_all()
        while not self._has_ended():
            await self._change()
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    async def _change(self) -> None:
        """Wait until more has come."""
        self._changed.clear()
        await self._changed.wait()

    def _has_ended(self) -> bool:
        """Whether the reply has come. Then its pieces are added."""
        if self._reply is None:
            raise UsageError("Enter the stream first: `async with client.stream(…) as stream`.")
        if self._answer is None and self._error is None and self._reply.done():
            self._read(self._reply)
        return self._answer is not None or self._error is not None

    def _read(self, reply: "asyncio.Future[Result | Failure]") -> None:
        if reply.cancelled():
            self._error = UsageError("This stream was left before its end: ask for a new one.")
            return
        try:
            found = reply.result()
            if isinstance(found, Failure):
                raise error_of(found)
            answer = answer_of(found, self._types.output)
            # The last step of a chain answers, which is another task than the one that was asked.
            pieces = self._types.pieces or piece_types(found.task, self._types.output).pieces
            if pieces is not None and not self._pieces.finish(pieces(answer.output)):
                self._torn = InferstreamError(TORN)
        except Exception as error:
            self._error = error
        else:
            self._answer = answer

    def _add(self, chunk: Chunk) -> None:
        """Called for each chunk of the request, also for those that come again."""
        if self._error is not None:
            return
        # The last step of a chain answers, which is another task than the one that was asked.
        piece = piece_types(chunk.task).piece if self._types.piece is Any else self._types.piece
        try:
            pieces = decoder(list[piece]).decode(chunk.output)  # type: ignore[valid-type]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._error = InferstreamError(
                f"A chunk of {chunk.id} cannot be decoded as pieces of `{chunk.task}` ({error}). "
                "Install the version of inferstream, or of the package with the task, that the worker runs."
            )
            self._changed.set()
            return
        self._reading.came(chunk.from_ + len(pieces))
        if self._pieces.add(chunk.from_, pieces, len(chunk.output)):
            self._changed.set()
        elif self._pieces.is_torn and self._torn is None:
            self._torn = InferstreamError(TORN)
            self._changed.set()
