"""`inferstream request`: a text and its answer, or a file of texts and a file of answers."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from ....schemas.codec import encode
from ....schemas.messages import Failure, Request, Result
from ....schemas.topics import PRIORITIES
from ...client.client import DEFAULT_TIMEOUT_S, Client
from ...client.files import FILE_FORMATS, FileFormat, ReplyFile, RequestFile, format_of
from ...client.replies import Answer
from ...config import Config
from ...errors import InferstreamError, Timeout, UsageError
from ..options.connection import connection
from ..options.settings import KAFKA, KAFKA_ADDRESS, with_settings

DASH: Final = Path("-")
"""Standard input or output instead of a file."""


@click.command("request")
@click.argument("task")
@click.argument("text", required=False)
@click.option(
    "--file",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with many texts; - reads standard input.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the replies to --file, one line each, in the order of the input. If the file exists, "
    "the run continues after its last complete line.  [default: standard output]",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FILE_FORMATS),
    help="Format of --file.  [default: by the file name; jsonl for -]",
)
@click.option(
    "--kafka",
    **{
        **KAFKA_ADDRESS,
        "help": "Send to the workers on this Kafka.  [default: run the model in this process]",
    },
)
@click.option(
    "--embedded",
    type=click.Path(path_type=Path, file_okay=False),
    help="Send to the worker that serves this folder (`inferstream worker --embedded`).",
)
@click.option("--model", metavar="NAME", help="Model that answers.  [default: the worker's first model]")
@click.option(
    "--priority",
    type=click.Choice(PRIORITIES),
    help="Busy workers run requests of a higher priority first.  [default: normal]",
)
@click.option("--tenant", metavar="NAME", help="Tenant of the requests. Tenants never share cached answers.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Tickets with a lower confidence need a human.  [default: the threshold of the taxonomy]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Seconds to wait for the next answer.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Maximum number of lines of --file in progress at a time.",
)
@with_settings(KAFKA, kafka=False)
@click.option("--json", "as_json", is_flag=True, help="Print the reply as JSON, as on the reply topic.")
def command(
    task: str,
    text: str | None,
    source: Path | None,
    out: Path | None,
    file_format: FileFormat | None,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    threshold: float | None,
    max_in_flight: int,
    as_json: bool,
    timeout_s: float,
    **headers: Any,
) -> None:
    """Send TEXT, or each text of a file, to TASK and print the answer.

    \b
    One ticket, with the model in this process:
      inferstream request triage "I was charged twice"
    The same, answered by the workers on Kafka, as JSON:
      inferstream request triage "I was charged twice" --kafka 127.0.0.1:9092 --json
    A file of tickets. After an interrupt, run the same command again to continue:
      inferstream request triage --file tickets.jsonl --out routed.jsonl
    From a pipe, one text a line:
      grep refund mails.txt | inferstream request triage --file - --format txt

    Formats of a file: jsonl, one request object a line, e.g. {"text": "…"}, optionally with "id" and
    "options"; csv, with a column "text", optionally with a column "id"; txt, one text a line. The output has
    one line for each request: its reply, or a failure that says what is wrong with it. TEXT may be - to read
    it from standard input.
    """
    if (text is None) == (source is None):
        raise UsageError(
            'Give either a text or --file, e.g. `inferstream request triage "I was charged twice"`.'
        )
    if out and not source:
        raise UsageError("--out goes with --file: the answer to one text is printed.")
    models = [headers["model"]] if headers["model"] else []
    connecting = connection(task, models, config, kafka=kafka, embedded=embedded)
    headers["options"] = {} if threshold is None else {"threshold": threshold}
    if source:
        how = {**headers, "max_in_flight": max_in_flight}
        _answer_file(connecting, task, source, out, file_format, timeout_s, how)
        return
    whole = sys.stdin.read() if text == "-" else str(text)
    answer = asyncio.run(_answer_text(connecting, task, whole, timeout_s=timeout_s, **headers))
    if as_json:
        click.echo(encode(answer.reply))
        return
    from ..output.answers import print_answer

    print_answer(answer)


async def _answer_text(
    connecting: AbstractAsyncContextManager[Client], task: str, text: str, **how: Any
) -> Answer:
    async with connecting as client:
        return await client.request(task, text, **how)


def _answer_file(
    connecting: AbstractAsyncContextManager[Client],
    task: str,
    source: Path,
    out: Path | None,
    file_format: FileFormat | None,
    timeout_s: float,
    how: Mapping[str, Any],
) -> None:
    """Write the reply to each line of ``source`` to ``out``, after the replies that it holds already.

    Raises UsageError for files that cannot be used, and Timeout if no answer arrives for ``timeout_s``.
    """
    from ..output.file_progress import FileProgress

    with ExitStack() as stack:
        file, size_bytes = _open_input(source, stack)
        requests = RequestFile(file, file_format or ("jsonl" if source == DASH else format_of(source)), task)
        replies = _open_output(source, out, stack)
        items = iter(requests)
        replies.skip(items)
        progress = stack.enter_context(FileProgress(source.name, size_bytes, replies.lines))

        def write(reply: Result | Failure) -> None:
            replies.write(reply)
            progress.add(reply, requests.bytes_read)

        try:
            asyncio.run(_answer_items(connecting, task, items, timeout_s, how, write))
        except (KeyboardInterrupt, InferstreamError) as error:
            progress.stop()
            if isinstance(replies, ReplyFile):
                click.echo(
                    f"Stopped after line {progress.lines:,}: run the same command again to continue there.",
                    err=True,
                )
            if isinstance(error, KeyboardInterrupt):
                raise click.Abort from error
            raise
        progress.redraw(requests.bytes_read)
    click.echo(progress.summary(), err=True)


async def _answer_items(
    connecting: AbstractAsyncContextManager[Client],
    task: str,
    items: Iterator[Request | Failure],
    timeout_s: float,
    how: Mapping[str, Any],
    write: Callable[[Result | Failure], None],
) -> None:
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


class StandardOutput:
    """Replies on standard output, where no earlier run can be resumed."""

    lines = 0

    def skip(self, items: Iterator[Request | Failure]) -> None: ...

    def write(self, reply: Result | Failure) -> None:
        sys.stdout.buffer.write(encode(reply) + b"\n")


def _open_input(source: Path, stack: ExitStack) -> tuple[BinaryIO, int | None]:
    """The file, and its size in bytes; None if unknown."""
    if source == DASH:
        return sys.stdin.buffer, None
    return stack.enter_context(source.open("rb")), source.stat().st_size


def _open_output(source: Path, out: Path | None, stack: ExitStack) -> ReplyFile | StandardOutput:
    if out is None or out == DASH:
        return StandardOutput()
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"--out is the input itself: name another file than {source}.")
    return stack.enter_context(ReplyFile(out))
