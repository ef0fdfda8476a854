"""`inferstream dead-letters`: look at what could not be answered, replay it, or put it aside."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

import click
import msgspec

from ...broker.base import Record
from ...ops.dead_letters.handling import Desk, Handled
from ...ops.dead_letters.letter import Letter, Selection, place_named
from ...ops.dead_letters.marks import Done
from ...ops.dead_letters.reading import Listing, listing, one
from ..options.letters import Function, Place, with_place, with_selection
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


@click.group("dead-letters")
@click.argument("task")
@click.pass_context
def command(context: click.Context, task: str) -> None:
    """Look at requests of TASK that workers gave up, replay them, or put them aside.

    \b
      inferstream dead-letters triage list --kafka 127.0.0.1:9092
      inferstream dead-letters triage show 0/17 --kafka 127.0.0.1:9092
      inferstream dead-letters triage replay --code device_unavailable --yes --kafka 127.0.0.1:9092
    """
    context.obj = task


@command.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show so many, the newest."
)
@click.option("--all", "handled", is_flag=True, help="Also those that were replayed or purged.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the letters as JSON, with all that is known of each."
)
@with_place
@with_selection
def list_letters(place: Place, selection: Selection, limit: int, handled: bool, as_json: bool) -> None:
    """Show dead letters that nobody has dealt with yet, and count them."""

    async def read() -> Listing:
        async with place.broker() as broker:
            with progress_bar("Reading dead letters") as progress:
                return await listing(
                    broker, place.topics, selection, limit=limit, handled=handled, progress=progress
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
@click.option("--body", is_flag=True, help="Print the body alone, byte for byte.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON; what is no text is in Base64.")
@with_place
def show(place: Place, letter: str, body: bool, as_json: bool) -> None:
    """Show one dead LETTER: why it failed, its headers, its body. `list` names it, as in 0/17."""

    async def read() -> tuple[Record, Letter]:
        async with place.broker() as broker:
            return await one(broker, place.topics, place_named(letter))

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
    """A command that deals with letters: it only says what it would do, until it gets --yes."""

    def decorate(function: Function) -> click.Command:
        @click.argument("letters", nargs=-1)
        @click.option("--yes", is_flag=True, help="Do it. Without this, only say what would be done.")
        @click.option("--limit", type=click.IntRange(1), help="Take so many at most: to try with one first.")
        @click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
        @with_place
        @with_selection
        def act(place: Place, selection: Selection, yes: bool, limit: int | None, as_json: bool) -> None:
            _tell(what, asyncio.run(_deal(place, selection, what, limit, yes=yes)), yes=yes, as_json=as_json)

        act.__doc__ = function.__doc__
        return command.command(function.__name__)(act)

    return decorate


@changing("replayed")
def replay(place: Place) -> None:
    """Put the requests of dead LETTERS, or of all that the options choose, back on the request topic.

    Body, key and headers are those of the request; attempts count anew, and a deadline is dropped. Each letter gets a
    mark when its request is durable, so that the command may be interrupted and repeated.
    """


@changing("purged")
def purge(place: Place) -> None:
    """Put dead LETTERS, or all that the options choose, aside: `list` and `replay` pass over them.

    They stay in the topic until its retention deletes them; `list --all` shows them as long.
    """


async def _deal(place: Place, selection: Selection, what: Done, limit: int | None, *, yes: bool) -> Handled:
    async with place.broker() as broker:
        desk = Desk(broker, place.topics, place.marks, time.time)
        deal = desk.handle if yes else desk.foresee
        with progress_bar("Replaying" if what == "replayed" else "Purging") as progress:
            return await deal(what, selection, limit=limit, progress=progress)


def _tell(what: Done, handled: Handled, *, yes: bool, as_json: bool) -> None:
    if as_json:
        whole = {"done": what if yes else None, **msgspec.to_builtins(handled)}
        click.echo(msgspec.json.format(msgspec.json.encode(whole), indent=2))
        return
    would = "" if yes else "would be "
    click.echo(f"{_counted(handled.codes)} {would}{what}.")
    if handled.left_out:
        click.echo(f"{handled.left_out:,} have no body, for it was too large: send those requests again.")
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
