"""A run of `inferstream request --stream`: each line of standard input is answered as soon as it comes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, closing
from typing import Any, Final

import click

from ....schemas.codec import encode
from ....schemas.messages import Failure, Request
from ...client.client import Client
from ...client.replies import Answer
from ...client.request_file import RequestFile
from ...errors import BlankText
from ...rows.dialect import Dialect, dialect_of
from ..output.answered_file import DASH, SOME_FAILED
from ..output.answers import answer_line
from .arriving import Arriving, Room, Sized
from .pipe_input import PipeInput
from .pipe_output import PipeOutput

MAX_BYTES: Final = 1 << 24
"""Of lines that were read and have no answer yet."""


class AnsweredLines:
    """Lines of standard input, and their answers on standard output in the same order.

    ``reading`` has the options that say how lines are read; ``as_json`` prints replies instead of texts.

    Raises UsageError for options that do not go together.
    """

    def __init__(self, task: str, reading: Mapping[str, Any], *, as_json: bool) -> None:
        self._task = task
        self._dialect: Dialect = dialect_of(
            DASH, reading["format"] or "txt", reading["delimiter"], reading["encoding"]
        )
        self._columns = (reading["text"], reading["id"])
        self._as_json = as_json
        self._sizes: deque[int] = deque()
        self._lines = 0
        self._failures = 0

    def answer(self, connecting: AbstractAsyncContextManager[Client], how: Mapping[str, Any]) -> int:
        """Answer until the end of the input. Returns the exit status.

        Raises UsageError for an input that is no text, and BrokerError.
        """
        asyncio.run(self._answer(connecting, dict(how)))
        return SOME_FAILED if self._failures else 0

    async def _answer(self, connecting: AbstractAsyncContextManager[Client], how: dict[str, Any]) -> None:
        room = Room(how["max_in_flight"], MAX_BYTES)
        output = PipeOutput()
        async with connecting as client:
            with closing(PipeInput()) as source, Arriving(source, self._read(source), room) as arriving:
                answers = client.map(self._task, self._sent(arriving), **how)
                async with aclosing(answers):
                    async for answer in answers:
                        self._lines += 1
                        await output.write(self._shown(answer))
                        room.give_back(self._sizes.popleft())

    def _read(self, source: PipeInput) -> Iterator[Sized[Request | Failure]]:
        """The requests of the input, in a thread."""
        file: Any = source
        for item in RequestFile(file, "Standard input", self._dialect, self._task, self._columns):
            yield Sized(item, len(encode(item)))

    async def _sent(
        self, arriving: AsyncIterator[Sized[Request | Failure]]
    ) -> AsyncIterator[Request | Failure]:
        async for sized in arriving:
            self._sizes.append(sized.size)
            yield sized.item

    def _shown(self, answer: Answer[Any] | Failure) -> bytes:
        """The line of an answer. A failure is told on standard error, and is a line only among those of JSON."""
        if isinstance(answer, Failure):
            if answer.code == BlankText.code and self._dialect.format == "txt" and not self._as_json:
                return b"\n"  # a blank line between paragraphs stays one
            self._failures += 1
            click.echo(f"Line {self._lines}: {answer.message} ({answer.code})", err=True)
            return encode(answer) + b"\n" if self._as_json else b""
        if self._as_json:
            return encode(answer.reply) + b"\n"
        return answer_line(answer).encode(errors="backslashreplace") + b"\n"
