"""`inferstream request --file`: the lines of a file to replies, with a progress bar, resumable."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ....schemas.codec import encode
from ....schemas.messages import Failure, Request, Result
from ...client.backlog import Format, Sink, Source, format_of
from ...client.client import Client
from ...errors import InferstreamError, UsageError
from ...errors import Timeout as NoAnswer

STREAM: Final = Path("-")
REDRAW_LINES: Final = 50


class Tally(Struct):
    """What came of the lines of this run."""

    began: float
    answered: int = 0
    failed: int = 0
    cached: int = 0

    def add(self, reply: Result | Failure) -> None:
        if isinstance(reply, Failure):
            self.failed += 1
        else:
            self.answered += 1
            self.cached += reply.cache in {"memory", "disk", "flight"}

    @property
    def lines(self) -> int:
        return self.answered + self.failed

    def sentence(self, now: float) -> str:
        """What happened, for the end of the run."""
        seconds = max(now - self.began, 1e-9)
        parts = f"{self.answered:,} answered ({self.cached:,} without the model), {self.failed:,} failed"
        return f"{self.lines:,} lines in {seconds:,.1f} s, {self.lines / seconds:,.0f} a second: {parts}."


class Printer:
    """Standard output as a place for replies; there is nothing to resume."""

    lines = 0

    def skip(self, items: Iterator[Request | Failure]) -> None: ...

    def write(self, reply: Result | Failure) -> None:
        sys.stdout.buffer.write(encode(reply) + b"\n")


def request_file(
    connecting: AbstractAsyncContextManager[Client],
    task: str,
    path: Path,
    kind: Format | None,
    out: Path | None,
    *,
    timeout_s: float,
    how: Mapping[str, Any],
) -> None:
    """Write the reply to each line of ``path`` to ``out``, going on behind what is there.

    Raises UsageError for files that do not fit, Timeout when no answer comes for ``timeout_s``.
    """
    with ExitStack() as stack:
        file, size = _input(path, stack)
        source = Source(file, kind or ("jsonl" if path == STREAM else format_of(path)), task)
        sink = _output(path, out, stack)
        items = iter(source)
        sink.skip(items)
        skipped, tally = sink.lines, Tally(time.monotonic())
        bar = stack.enter_context(_bar())
        bars = bar.add_task(path.name, total=size, lines=f"{skipped:,}")

        def taken(reply: Result | Failure) -> None:
            sink.write(reply)
            tally.add(reply)
            if tally.lines % REDRAW_LINES == 0:
                bar.update(bars, completed=source.bytes_read, lines=f"{skipped + tally.lines:,}")

        try:
            asyncio.run(_route(connecting, task, items, timeout_s, how, taken))
        except (KeyboardInterrupt, InferstreamError) as error:
            bar.stop()
            _stopped(error, skipped + tally.lines, out)
        bar.update(bars, completed=source.bytes_read, lines=f"{skipped + tally.lines:,}")
    click.echo(tally.sentence(time.monotonic()), err=True)


async def _route(
    connecting: AbstractAsyncContextManager[Client],
    task: str,
    items: Iterator[Request | Failure],
    timeout_s: float,
    how: Mapping[str, Any],
    taken: Callable[[Result | Failure], None],
) -> None:
    async with connecting as client, aclosing(client.map(task, items, timeout_s=None, **how)) as answers:
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await anext(answers)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise NoAnswer(f"No answer came for {timeout_s:g} s: is a worker running?") from error
            taken(answer if isinstance(answer, Failure) else answer.reply)


def _stopped(error: BaseException, lines: int, out: Path | None) -> None:
    """Say what is there and how to go on; then end as ``error`` wants it."""
    if out:
        click.echo(f"Stopped behind line {lines:,}: run the same command again to go on there.", err=True)
    if isinstance(error, KeyboardInterrupt):
        raise click.Abort from error
    raise error


def _input(path: Path, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    """The file, and its size where it has one."""
    if path == STREAM:
        return sys.stdin.buffer, None
    return stack.enter_context(path.open("rb")), path.stat().st_size


def _output(path: Path, out: Path | None, stack: ExitStack) -> Sink | Printer:
    if out is None or out == STREAM:
        return Printer()
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"--out is the input itself: name another file than {path}.")
    return stack.enter_context(Sink(out))


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]} lines"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
