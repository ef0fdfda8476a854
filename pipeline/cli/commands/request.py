"""`inferstream request`: a text and its answer, a file of texts and a file of answers, or a pipe of lines."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from ....schemas.codec import DecodeError, decode_request, encode
from ....schemas.messages import Request
from ...client.client import Client
from ...client.replies import Answer
from ...config import Config
from ...errors import UsageError
from ...rows.decoding import decoded
from ...tasks.catalogue import contract_of
from ...tasks.chains.declared import chains_of
from ..options.connection import connection
from ..options.of_tasks import OptionsCommand, task_options
from ..options.rows import dialect_options, id_column, text_column
from ..options.sending import HIGHER_FIRST, model_option, priority_option, sending_options
from ..options.settings import KAFKA, with_settings


@click.command("request", cls=OptionsCommand)
@click.argument("task")
@click.argument("content", required=False, metavar="[TEXT]")
@click.option(
    "--file",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with many texts; - reads standard input.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the replies to --file, in the order of the input: one JSON object a line, or, for a CSV file and "
    "a name that ends in .csv or .tsv, its rows with the answers beside them. If the file exists, the run continues "
    "after its last complete line.  [default: standard output, as JSON]",
)
@click.option(
    "--stream",
    "as_stream",
    is_flag=True,
    help="Answer each line of standard input as soon as it comes, one line each, in order, until the input ends.",
)
@text_column
@id_column
@dialect_options
@sending_options(
    model=model_option("the worker's first model"),
    priority=priority_option(help=f"{HIGHER_FIRST}.  [default: normal]"),
    timeout="; with --stream, for the answer to each line",
    in_flight="lines of --file or --stream",
)
@with_settings(KAFKA, kafka=False)
@click.option("--json", "as_json", is_flag=True, help="Print replies as JSON, as on the reply topic.")
def command(
    task: str,
    content: str | None,
    source: Path | None,
    out: Path | None,
    as_stream: bool,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    max_in_flight: int,
    as_json: bool,
    timeout_s: float,
    model: str | None,
    priority: str | None,
    tenant: str | None,
    **parameters: Any,
) -> int:
    """Send TEXT, or each text of a file, to TASK and print the answer.

    \b
    One ticket, with the model in this process:
      inferstream request triage "I was charged twice"
    The same, answered by the workers on Kafka, as JSON:
      inferstream request triage "I was charged twice" --kafka 127.0.0.1:9092 --json
    A file of tickets. After an interrupt, run the same command again to continue:
      inferstream request triage --file tickets.jsonl --out routed.jsonl
    A table of Excel, answered beside its rows:
      inferstream request triage --file tickets.csv --delimiter ';' --encoding cp1252 --out routed.csv
    Many texts from a pipe:
      grep refund mails.txt | inferstream request triage --file - --format txt
    Lines that come now and then, each answered at once:
      tail -f new-tickets.txt | inferstream request triage --stream

    Formats of a file: jsonl, one request object a line, e.g. {"text": "…"}, optionally with "id" and
    "options"; csv, with a column "text", optionally with a column "id"; tsv, the same with tabs; txt, one text
    a line. The name may end in .gz; the encoding is UTF-8. CSV is read strictly: a mistake in it stops the run
    and names the line. --text and --id name other columns, --delimiter and --encoding another dialect.

    With --stream the input is one text a line, or --format jsonl. Each answer is one line of text (see
    docs/tasks.md), or with --json one reply. A line that fails is told on standard error with its number.

    Each line of the file gets one line: its reply, or a failure that says what is wrong with it. Exit status:
    0 if all were answered; 3 if each line has its reply and some are failures; 1 if the run stopped; 2 for a
    wrong option or file. TEXT may be - to read it from standard input. For a task whose requests are more than a
    text it is the JSON of one. `inferstream request TASK --help` shows also the options of a task.
    """
    if [content is not None, source is not None, as_stream].count(True) != 1:
        raise UsageError(
            'Give either a text, --file or --stream, e.g. `inferstream request triage "I was charged twice"`.'
        )
    if out and not source:
        raise UsageError("--out goes with --file: the answer to one text is printed.")
    options, reading = task_options(parameters)
    connecting = connection(
        task,
        [model] if model else [],
        config,
        kafka=kafka,
        embedded=embedded,
        timeout_s=timeout_s,
        options=options,
    )
    how: dict[str, Any] = {
        "model": model,
        "priority": priority,
        "tenant": tenant,
        "options": options,
    }
    if as_stream:
        from ..pipes.answered_lines import AnsweredLines

        lines = AnsweredLines(task, reading, as_json=as_json)
        return lines.answer(connecting, how | {"max_in_flight": max_in_flight, "timeout_s": timeout_s})
    if source:
        from ..output.answered_file import AnsweredFile

        chain = chains_of(config).get(task)
        run = AnsweredFile(task, source, out, reading, chain.steps[-1].task if chain else None)
        return run.answer(connecting, timeout_s, how | {"max_in_flight": max_in_flight})
    whole = decoded(sys.stdin.buffer.read(), "Standard input") if content == "-" else str(content)
    asked = _content(task, whole)
    answer = asyncio.run(_answer_one(connecting, task, asked, timeout_s=timeout_s, **how))
    if as_json:
        click.echo(encode(answer.reply))
        return 0
    from ..output.answers import print_answer

    print_answer(answer)
    return 0


def _content(task: str, given: str) -> str | Request:
    """The text, or the request of which it is the JSON, if the task's requests may have other content."""
    contract = contract_of(task)
    if contract is None or contract.request is Request:
        return given
    if contract.takes_text and not given.lstrip().startswith("{"):
        return given
    try:
        request = decode_request(given.encode(errors="surrogateescape"), contract.request)
    except DecodeError as error:
        if contract.takes_text:  # a text that begins so
            return given
        raise UsageError(error.message) from error
    empty = contract.takes_text and structs.replace(request, options={}, id=None) == contract.request()
    return given if empty else request


async def _answer_one(
    connecting: AbstractAsyncContextManager[Client], task: str, content: str | Request, **how: Any
) -> Answer[Any]:
    async with connecting as client:
        return await client.request(task, content, **how)
