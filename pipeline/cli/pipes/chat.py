"""A conversation in a terminal, or over a pipe: each line is a turn, and its answer is shown while it is made."""

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, closing, suppress
from typing import Any, Final

import click

from ....schemas.codec import encode
from ....schemas.generation import ChatMessage, GenerateOutput
from ....schemas.messages import Failure, Request
from ...client.client import Client
from ...client.generation.calls import TASK
from ...client.replies import Answer
from ...client.request_file import RequestFile
from ...errors import InferstreamError
from ...rows.dialect import dialect_of
from ..output.answered_file import DASH, SOME_FAILED
from ..output.escaped import escaped
from .arriving import Arriving, Room, Sized
from .pipe_input import PipeInput
from .pipe_output import PipeOutput

PROMPT: Final = "\n> "
MAX_AHEAD: Final = 64
MAX_BYTES: Final = 1 << 20
"""Of lines that were read and are not answered yet."""


class Chat:
    """The turns of one conversation. Ctrl-C ends an answer, and between two turns the program.

    What was shown of an answer that was ended stays in the conversation, as the reader knows it.
    """

    def __init__(self, system: str | None, *, is_terminal: bool) -> None:
        self._messages = [ChatMessage("system", system)] if system else []
        self._is_terminal = is_terminal
        self._turn: asyncio.Task[None] | None = None
        self._failures = 0

    def run(self, connecting: AbstractAsyncContextManager[Client], how: Mapping[str, Any]) -> int:
        """Answer until the end of the input. Returns the exit status. Raises UsageError and BrokerError."""
        try:
            asyncio.run(self._run(connecting, how))
        except asyncio.CancelledError:
            raise click.Abort from None
        return SOME_FAILED if self._failures else 0

    async def _run(self, connecting: AbstractAsyncContextManager[Client], how: Mapping[str, Any]) -> None:
        room = Room(MAX_AHEAD, MAX_BYTES)
        output = PipeOutput()
        async with connecting as client:
            with closing(PipeInput()) as source, Arriving(source, _turns(source), room) as turns:
                self._take_interrupts()
                await self._prompt(output)
                async for item, size in turns:
                    room.give_back(size)
                    await self._answer(client, item, how, output)
                    await self._prompt(output)

    async def _prompt(self, output: PipeOutput) -> None:
        if self._is_terminal:
            await output.write(PROMPT.encode())

    def _take_interrupts(self) -> None:
        main = asyncio.current_task()
        assert main is not None

        def interrupt() -> None:
            (self._turn or main).cancel()

        with suppress(NotImplementedError):  # an event loop of Windows: Ctrl-C ends the program
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)

    async def _answer(
        self, client: Client, item: Request | Failure, how: Mapping[str, Any], output: PipeOutput
    ) -> None:
        if isinstance(item, Failure):
            self._tell(item.message)
            return
        if not (text := str(item.text).strip()):
            return
        self._turn = asyncio.ensure_future(self._say(client, text, how, output))
        try:
            await self._turn
        except InferstreamError as error:
            self._tell(str(error))
        except asyncio.CancelledError:
            if not self._turn.cancelled():
                raise
        finally:
            self._turn = None

    async def _say(self, client: Client, text: str, how: Mapping[str, Any], output: PipeOutput) -> None:
        """Show the answer to ``text``, and add both to the messages. Raises the error of the request.

        A turn of which nothing was shown is not added: many templates refuse two turns of a user in a row.
        """
        turn = ChatMessage("user", text)
        said = ""
        try:
            async with client.chat([*self._messages, turn], **how) as stream:
                async for token in stream:
                    said += token.text
                    await output.write(escaped(token.text).encode(errors="backslashreplace"))
                answer = await stream.answer()
        finally:
            if said:
                self._messages += [turn, ChatMessage("assistant", said)]
                await output.write(b"\n")
        if self._is_terminal:
            click.echo(click.style(figures(answer), dim=True), err=True)

    def _tell(self, message: str) -> None:
        self._failures += not self._is_terminal
        click.echo(escaped(message), err=True)


def figures(answer: Answer[GenerateOutput]) -> str:
    """What an answer took, in one line."""
    usage = answer.output.usage
    timings = answer.reply.timings
    parts = [f"{usage.generated_tokens} tokens"]
    if timings.total_ms and answer.reply.cache in ("miss", "off"):
        parts.append(f"{usage.generated_tokens / timings.total_ms * 1e3:.0f} tokens/s")
        if isinstance(timings.first_ms, float):
            parts.append(f"the first after {timings.first_ms:.0f} ms")
    if usage.cached_tokens:
        parts.append(f"{usage.cached_tokens} of {usage.prompt_tokens} of the prompt read before")
    if answer.output.choices[0].ended_by == "length":
        parts.append("ended by --max-tokens or the context")
    return ", ".join(parts)


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _turns(source: PipeInput) -> Iterator[Sized[Request | Failure]]:
    """The lines of the input, in a thread."""
    file: Any = source
    for item in RequestFile(file, "Standard input", dialect_of(DASH, "txt", None, None), TASK):
        yield Sized(item, len(encode(item)))
