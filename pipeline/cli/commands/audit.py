"""`inferstream audit`: did every request end exactly once?"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ...config import Config
from ...ops.audit.auditor import audit
from ...ops.audit.facts import Audited
from ...ops.audit.report import AuditReport
from ..options.broker import embedded_option, open_broker
from ..options.settings import KAFKA, with_settings
from ..options.times import Duration, Timestamp
from ..output.terminal import local_time, printable, progress_bar

BROKEN: Final = 3
ROWS: Final = {
    "requests": "by distinct id",
    "results": "ended with a result",
    "expired": "ended because their deadline had passed",
    "dead_letters": "ended in the dead letters, without any reply",
    "missing": "no terminal event: lost, or not answered yet",
    "open": "no terminal event, and not due yet",
    "elsewhere": "with a reply topic that was not read",
    "out_of_order": "replies before the end of an earlier request of their key",
    "torn": "requests of which a chunk is missing or out of order",
    "late_chunks": "requests with a chunk behind their terminal event",
    "missing_repeats": "requests sent again with their id, or replayed, without a terminal event of their own",
    "duplicated": "terminal events beyond one for each time a request was sent",
    "contradictory": "requests among these whose terminal events differ",
    "chunks": "parts of answers, told while these were being made",
    "resumed": "requests that a worker went on with behind what another one had told",
    "outdated_chunks": "chunks of workers that were replaced, which do not count",
    "repeated_pieces": "pieces that were told again",
    "duplicated_chunks": "chunks among these that were repeated",
    "repeats": "requests sent again with the same id",
    "replayed": "dead letters that were replayed",
    "retried": "records that returned from a retry topic",
    "cancels": "requests that a client has cancelled",
    "cancelled": "ended as cancelled or superseded, also by a lease",
    "superseded": "of these, superseded by a newer request",
    "late_cancels": "cancelled, and ended otherwise: too late, or by another tenant",
    "kept": "dead letters that accompany a failure reply",
    "unknown": "replies to requests that are not in the topic",
    "deleted": "requests that retention has deleted before this audit: they are not judged",
    "unreadable": "records on reply topics that are not replies",
}
ALWAYS: Final = ("requests", "results", "missing", "out_of_order", "duplicated")


@click.command("audit")
@click.argument("task")
@embedded_option
@click.option(
    "--since",
    type=Timestamp(),
    help="Audit requests sent from this time on: 2026-03-01T14:00, or 12h for 12 hours ago.",
)
@click.option("--until", type=Timestamp(), help="Audit requests sent before this time.")
@click.option(
    "--grace",
    type=Duration(),
    default="0s",
    show_default=True,
    help="A request may be open for this time after it was sent, or after its retry was due. On a running pipeline "
    "use more than a request takes, such as 60s.",
)
@click.option(
    "--replies",
    multiple=True,
    metavar="TOPIC",
    help="Another reply topic that requests name, beside the task's own. May be repeated.",
)
@click.option("--strict", is_flag=True, help="Duplicates on the topics fail the audit as well.")
@click.option(
    "--work",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store what was read in this file: an interrupted audit continues there, the next one reads only new records. "
    "It takes about 100 bytes for each record.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@with_settings(KAFKA)
def command(
    task: str,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    since: int | None,
    until: int | None,
    grace: int,
    replies: tuple[str, ...],
    strict: bool,
    work: Path | None,
    as_json: bool,
) -> int:
    """Read the topics of TASK, or of a chain, and report whether each request ended exactly once, in order.

    Reads the request, reply, retry, dead-letter and cancel topics without joining a consumer group, so workers are not
    disturbed. The exit status is 0 when nothing is missing or out of order, else 3. Duplicates are allowed
    (delivery is at least once) and only reported.

    \b
      inferstream audit triage --kafka 127.0.0.1:9092 --since 1h --grace 60s
      inferstream audit triage --embedded ./queue --json
    """
    audited = Audited.of(task, config, replies)
    how = {"work": work, "since_ms": since, "until_ms": until, "grace_ms": grace}
    try:
        report = asyncio.run(_audit(config, kafka, embedded, audited, how))
    except KeyboardInterrupt:
        if work:
            click.echo("Interrupted: run the same command again to continue there.", err=True)
        raise
    failed = report.lost or (strict and report.repeated)
    if as_json:
        _print_json(report, clean=not failed)
    else:
        _print(report)
    return BROKEN if failed else 0


async def _audit(
    config: Config, kafka: str | None, embedded: Path | None, audited: Audited, how: dict[str, Any]
) -> AuditReport:
    async with open_broker(config, kafka, embedded) as broker:
        with progress_bar("Reading the topics") as progress:
            return await audit(broker, audited, clock=time.time, progress=progress, **how)


def _print_json(report: AuditReport, *, clean: bool) -> None:
    whole = {"clean": clean, **msgspec.to_builtins(report)}
    click.echo(msgspec.json.format(msgspec.json.encode(whole), indent=2))


def _print(report: AuditReport) -> None:
    console = Console(markup=False, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for name, meaning in ROWS.items():
        count = getattr(report, name)
        if count or name in ALWAYS:
            table.add_row(f"{count:,}", name.replace("_", " "), meaning)
        if name == "results":
            for code, failures in sorted(report.failures.items()):
                table.add_row(f"{failures:,}", "failures", f"ended with a failure reply: {printable(code)}")
    for step, counted in report.steps.items():
        what = f"reached step {step}; records there that are repeated: {counted.repeated:,}, lost: {counted.missing:,}"
        table.add_row(f"{counted.reached:,}", f"step {step}", what)
    console.print(table)
    if report.oldest_open:
        oldest = report.oldest_open
        age = f"{oldest.age_s:,.0f} s ago"
        console.print(
            f"The oldest that has not ended: {printable(oldest.id)}, sent {age}, {local_time(oldest.asked_ms)}."
        )
    for problem, identities in report.examples.items():
        console.print(
            f"{problem.replace('_', ' ').capitalize()}, for example: {', '.join(map(printable, identities))}"
        )
    if report.unread_topics:
        named = " ".join(f"--replies {topic}" for topic in map(printable, report.unread_topics))
        click.echo(f"Some requests name other reply topics: add {named}", file=sys.stderr)
