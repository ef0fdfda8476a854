"""`inferstream request`: a text and its answer, or a file of texts and a file of answers."""

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click

from ....schemas.codec import encode
from ....schemas.topics import PRIORITIES
from ...client.backlog import FORMATS, Format
from ...client.client import DEFAULT_TIMEOUT_S, Client
from ...client.replies import Answer
from ...config import Config
from ...errors import UsageError
from ..options.connecting import connection
from ..options.settings import KAFKA, with_settings


@click.command("request")
@click.argument("task")
@click.argument("text", required=False)
@click.option(
    "--file",
    "source",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Many texts: a file, or - for standard input.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the replies to --file go, a line each in the order of the input. If it is there already, the run "
    "goes on behind its last complete line. Standard output by default.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="How to read --file; its name tells by default, jsonl for -.",
)
@click.option(
    "--kafka",
    metavar="HOST:PORT",
    help="Ask the workers on this Kafka. By default the model runs in this process.",
)
@click.option(
    "--embedded",
    type=click.Path(path_type=Path, file_okay=False),
    help="Ask the worker that serves this folder.",
)
@click.option("--model", metavar="NAME", help="Which model answers; the worker's first one by default.")
@click.option("--priority", type=click.Choice(PRIORITIES), help="Who goes first when workers are busy.")
@click.option("--tenant", metavar="NAME", help="In whose name; tenants share no cached answers.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Below this confidence a ticket needs a human; the taxonomy's own by default.",
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
    help="So many lines of --file are asked at a time.",
)
@with_settings(KAFKA, kafka=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the reply as JSON, as it stands on the reply topic."
)
def command(
    task: str,
    text: str | None,
    source: Path | None,
    out: Path | None,
    kind: Format | None,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    threshold: float | None,
    timeout_s: float,
    max_in_flight: int,
    as_json: bool,
    **headers: Any,
) -> None:
    """Send a TEXT, or a file of them, to TASK and print the answer.

    \b
    One ticket, with the model in this process:
      inferstream request triage "I was charged twice"
    The same from the workers on Kafka, as JSON:
      inferstream request triage "I was charged twice" --kafka 127.0.0.1:9092 --json
    A backlog; interrupt it and run the same line again, and it goes on where it was:
      inferstream request triage --file tickets.jsonl --out routed.jsonl
    From a pipe, a text a line:
      grep refund mails.txt | inferstream request triage --file - --format txt

    A file is jsonl (a request object a line: {"text": "…"}, maybe with "id" and "options"), csv (a column "text",
    maybe one "id") or txt (a text a line). Each line gets a line: the reply, or the failure that says what is wrong.
    """
    if (text is None) == (source is None):
        raise UsageError(
            'Give either a text or --file, e.g. `inferstream request triage "I was charged twice"`.'
        )
    if out and not source:
        raise UsageError("--out goes with --file: the answer to one text is printed.")
    models = [headers["model"]] if headers["model"] else []
    client = connection(task, models, config, kafka=kafka, embedded=embedded)
    headers["options"] = {} if threshold is None else {"threshold": threshold}
    if source:
        from ..output.request_file import request_file

        how = {**headers, "max_in_flight": max_in_flight}
        request_file(client, task, source, kind, out, timeout_s=timeout_s, how=how)
        return
    whole = sys.stdin.read() if text == "-" else str(text)
    answer = asyncio.run(_ask(client, task, whole, timeout_s=timeout_s, **headers))
    if as_json:
        click.echo(encode(answer.reply))
        return
    from ..output.answers import print_answer

    print_answer(answer)


async def _ask(connecting: AbstractAsyncContextManager[Client], task: str, text: str, **how: Any) -> Answer:
    async with connecting as client:
        return await client.request(task, text, **how)
