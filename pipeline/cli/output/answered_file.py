"""A run of `inferstream request --file`: reads a file of requests, and writes a file of replies."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from ....schemas.codec import encode
from ....schemas.messages import Failure, Request, Result
from ...client.client import Client
from ...client.reply_file import ReplyFile
from ...client.reply_table import ReplyTable
from ...client.request_file import RequestFile
from ...errors import InferstreamError, Timeout, UsageError
from ...rows.dialect import Dialect, FileFormat, dialect_of
from .file_progress import FileProgress

DASH: Final = Path("-")
"""Standard input or output instead of a file."""
SOME_FAILED: Final = 3
"""Exit status if each line has its reply, and some are failures."""
TABLES: Final = frozenset({".csv", ".tsv", ".tab"})
NOT_WRITTEN: Final = frozenset({".gz", ".zip", ".xlsx", ".xls", ".ods", ".parquet"})
Write = Callable[[Result | Failure], None]


class StandardOutput:
    """Replies on standard output, where no earlier run can be resumed."""

    lines = 0

    def __init__(self) -> None:
        self.failures = 0

    def skip(self, items: Iterator[Request | Failure]) -> None: ...

    def write(self, reply: Result | Failure) -> None:
        sys.stdout.buffer.write(encode(reply) + b"\n")
        self.failures += isinstance(reply, Failure)


Replies = ReplyFile | ReplyTable | StandardOutput


class AnsweredFile:
    """The file ``source`` and where its replies go; ``reading`` has the options that say how it is read.

    ``answering``: the task whose answers come, if that is another than the one that is asked.
    Raises UsageError for a file whose format its name and the options do not show.
    """

    def __init__(
        self,
        task: str,
        source: Path,
        out: Path | None,
        reading: Mapping[str, Any],
        answering: str | None = None,
    ) -> None:
        self._task = task
        self._answering = answering or task
        self._source = source
        self._out = out
        default: FileFormat | None = "jsonl" if source == DASH else None
        self._dialect = dialect_of(
            source, reading["format"] or default, reading["delimiter"], reading["encoding"]
        )
        self._columns = (reading["text"], reading["id"])

    def answer(
        self, connecting: AbstractAsyncContextManager[Client], timeout_s: float, how: Mapping[str, Any]
    ) -> int:
        """Write the reply to each line of the input, after the replies that are there already.

        Returns the exit status. Raises UsageError for files that cannot be used, and Timeout if no answer arrives
        for ``timeout_s``.
        """
        with ExitStack() as stack:
            file, size_bytes = self._open_input(stack)
            requests = self._requests(file)
            replies = self._open_output(requests, stack)
            items = iter(requests)
            replies.skip(items)
            progress = stack.enter_context(FileProgress(self._source.name, size_bytes, replies.lines))

            def write(reply: Result | Failure) -> None:
                replies.write(reply)
                progress.add(reply, requests.bytes_read)

            try:
                asyncio.run(answer_items(connecting, self._task, items, timeout_s, how, write))
            except (KeyboardInterrupt, InferstreamError) as error:
                progress.stop()
                if not isinstance(replies, StandardOutput):
                    click.echo(
                        f"Stopped after line {progress.lines:,}: run the same command again to continue there.",
                        err=True,
                    )
                if isinstance(error, KeyboardInterrupt):
                    raise click.Abort from error
                raise
            progress.redraw(requests.bytes_read)
        click.echo(progress.summary(), err=True)
        return SOME_FAILED if replies.failures else 0

    def _requests(self, file: BinaryIO) -> RequestFile:
        source = "Standard input" if self._source == DASH else str(self._source)
        return RequestFile(file, source, self._dialect, self._task, self._columns)

    def _open_input(self, stack: ExitStack) -> tuple[BinaryIO, int | None]:
        """The file, and its size in bytes; None if unknown. A CSV file is checked whole before it is sent.

        Otherwise a quote in its last line would stop a run of hours.
        """
        if self._source == DASH:
            return sys.stdin.buffer, None
        file = stack.enter_context(self._source.open("rb"))
        if self._dialect.format == "csv" and file.seekable():
            for _ in self._requests(file):
                pass
            file.seek(0)
        return file, self._source.stat().st_size

    def _open_output(self, requests: RequestFile, stack: ExitStack) -> Replies:
        out = self._out
        if out is None or out == DASH:
            return StandardOutput()
        if out.exists() and self._source.exists() and out.samefile(self._source):
            raise UsageError(f"--out is the input itself: name another file than {self._source}.")
        if out.suffix.lower() in NOT_WRITTEN:
            raise UsageError(f"--out is written as JSON Lines or CSV: name {out} .jsonl or .csv.")
        if out.suffix.lower() not in TABLES:
            return stack.enter_context(ReplyFile(out))
        if self._dialect.format != "csv":
            raise UsageError(f"--out {out} is CSV, and the input is not: name it .jsonl.")
        return stack.enter_context(ReplyTable(out, requests, self._answering, _delimiter(out, self._dialect)))


def _delimiter(out: Path, dialect: Dialect) -> str:
    return dialect.delimiter if out.suffix.lower() == ".csv" else dialect_of(out).delimiter


async def answer_items(
    connecting: AbstractAsyncContextManager[Client],
    task: str,
    items: Iterator[Request | Failure],
    timeout_s: float,
    how: Mapping[str, Any],
    write: Write,
) -> None:
    """Write the reply to each item. Raises Timeout if none arrives for ``timeout_s``."""
    async with connecting as client, aclosing(client.map(task, items, timeout_s=None, **how)) as answers:
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await anext(answers)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise Timeout(f"No answer came for {timeout_s:g} s: is a worker running?") from error
            write(answer if isinstance(answer, Failure) else answer.reply)
