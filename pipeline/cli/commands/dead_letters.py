"""`inferstream dead-letters`: list, replay and purge requests that could not be answered."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

import click
import msgspec

from ...broker.base import Record
from ...ops.dead_letters.handling import HandledLetters, LetterHandler
from ...ops.dead_letters.letter import Letter, Selection, parse_position
from ...ops.dead_letters.marks import Done
from ...ops.dead_letters.reading import Listing, letter_at, listing
from ..groups import SuggestingGroup
from ..options.letters import Function, LetterSource, with_letter_source, with_selection
from ..output.letters import lines_of, whole_letter
from ..output.tables import print_table
from ..output.terminal import local_time, printable, progress_bar

COLUMNS: Final = {
    "letter": "LETTER",
    "failed": "FAILED",
    "code": "CODE",
    "id": "ID",
    "key": "KEY",
    "tenant": "TENANT",
    "attempts": "ATTEMPTS",
    "message": "MESSAGE",
    "handled": "HANDLED",
}


@click.group("dead-letters", cls=SuggestingGroup)
@click.argument("task")
@click.pass_context
def command(context: click.Context, task: str) -> None:
    """List, replay or purge requests of TASK that workers could not answer.

    \b
      inferstream dead-letters triage list --kafka 127.0.0.1:9092
      inferstream dead-letters triage show 0/17 --kafka 127.0.0.1:9092
      inferstream dead-letters triage replay --code device_unavailable --yes --kafka 127.0.0.1:9092
    """
    context.obj = task


@command.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Show this many of the newest letters.",
)
@click.option("--all", "handled", is_flag=True, help="Include letters that were replayed or purged.")
@click.option("--json", "as_json", is_flag=True, help="Print the letters as JSON, with all fields.")
@with_letter_source
@with_selection
def list_letters(
    source: LetterSource, selection: Selection, limit: int, handled: bool, as_json: bool
) -> None:
    """Show and count the dead letters that were not replayed or purged."""

    async def read() -> Listing:
        async with source.broker() as broker:
            with progress_bar("Reading dead letters") as progress:
                return await listing(
                    broker, source.topics, selection, limit=limit, handled=handled, progress=progress
                )

    found = asyncio.run(read())
    rows = [_row(letter, as_json=as_json) for letter in found.letters]
    columns = {name: heading for name, heading in COLUMNS.items() if handled or name != "handled"}
    print_table(rows, columns, as_json=as_json)
    shown = len(rows)
    more = f"; these are the newest {shown:,}" if shown < found.codes.total() else ""
    click.echo(f"{_counted(found.codes)}{more}.", err=True)


@command.command("show")
@click.argument("letter")
@click.option("--body", is_flag=True, help="Print only the body, byte for byte.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; bytes that are not UTF-8 are in Base64.")
@with_letter_source
def show(source: LetterSource, letter: str, body: bool, as_json: bool) -> None:
    """Show one dead LETTER with headers and body. `list` shows its name, such as 0/17."""

    async def read() -> tuple[Record, Letter]:
        async with source.broker() as broker:
            return await letter_at(broker, source.topics, parse_position(letter))

    record, known = asyncio.run(read())
    if body:
        sys.stdout.buffer.write(record.value or b"")
        sys.stdout.buffer.flush()
        return
    whole = whole_letter(record, known)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(whole), indent=2))
        return
    for name, value in whole.items():
        for line in lines_of(name, value):
            click.echo(line)


def changing(what: Done) -> Callable[[Function], click.Command]:
    """A command that replays or purges. Without --yes it only shows what it would do."""

    def decorate(function: Function) -> click.Command:
        @click.argument("letters", nargs=-1)
        @click.option("--yes", is_flag=True, help="Do it. Without this, only show what would be done.")
        @click.option(
            "--limit",
            type=click.IntRange(1),
            help="Handle at most this many letters.",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
        @with_letter_source
        @with_selection
        def act(
            source: LetterSource, selection: Selection, yes: bool, limit: int | None, as_json: bool
        ) -> None:
            _show(
                what, asyncio.run(_handle(source, selection, what, limit, yes=yes)), yes=yes, as_json=as_json
            )

        act.__doc__ = function.__doc__
        return command.command(function.__name__)(act)

    return decorate


@changing("replayed")
def replay(source: LetterSource) -> None:
    """Publish the requests of dead letters to the request topic again.

    Replays the given LETTERS, or all letters that the options select. Body, key and headers are those of the
    request. Attempts start at 1, and a deadline is removed. Each letter gets a mark when its request is
    durable, so the command may be interrupted and repeated.
    """


@changing("purged")
def purge(source: LetterSource) -> None:
    """Mark dead letters as purged: `list` and `replay` skip them.

    Purges the given LETTERS, or all letters that the options select. They remain in the topic until its
    retention deletes them; `list --all` shows them.
    """


async def _handle(
    source: LetterSource, selection: Selection, what: Done, limit: int | None, *, yes: bool
) -> HandledLetters:
    async with source.broker() as broker:
        handler = LetterHandler(broker, source.topics, source.marks, time.time)
        handle = handler.handle if yes else handler.preview
        with progress_bar("Replaying" if what == "replayed" else "Purging") as progress:
            return await handle(what, selection, limit=limit, progress=progress)


def _show(what: Done, handled: HandledLetters, *, yes: bool, as_json: bool) -> None:
    if as_json:
        whole = {"done": what if yes else None, **msgspec.to_builtins(handled)}
        click.echo(msgspec.json.format(msgspec.json.encode(whole), indent=2))
        return
    would = "" if yes else "would be "
    click.echo(f"{_counted(handled.codes)} {would}{what}.")
    if handled.left_out:
        click.echo(f"{handled.left_out:,} have no body, because it was too large: send those requests again.")
    if handled.refused:
        click.echo(f"{handled.refused:,} are too large for the request topic: raise its max.message.bytes.")
    if not yes and handled.codes:
        click.echo("Nothing was changed: add --yes to do it.")


def _counted(codes: dict[str, int]) -> str:
    total = sum(codes.values())
    parts = ", ".join(f"{count:,} {printable(code)}" for code, count in sorted(codes.items()))
    return f"{total:,} dead letter{'s' * (total != 1)}" + (f" ({parts})" if parts else "")


def _row(letter: Letter, *, as_json: bool) -> dict[str, object]:
    row: dict[str, object] = msgspec.to_builtins(letter)
    if as_json:
        return row
    row |= {name: printable(value) for name, value in row.items() if isinstance(value, str)}
    return row | {"failed": local_time(letter.failed_at_ms)}
