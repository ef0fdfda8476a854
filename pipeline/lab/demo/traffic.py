"""What the demo sends: the example tickets with many repetitions, and a few invalid requests."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from ....schemas.messages import Request
from ...errors import UsageError
from ...rows.csv_rows import Wanted
from ...rows.dialect import Dialect
from ...rows.row_file import cell_of, read_rows

EXAMPLES: Final = Path(__file__).resolve().parents[3] / "examples" / "tickets.jsonl"
"""The package is a link in a checkout, so the resolved path is below the checkout."""
BROKEN: Final = (
    {"text": "   "},
    {"text": "Where is my parcel?", "options": {"treshold": 0.8}},
    {"text": "Please cancel my order", "options": {"threshold": "high"}},
)
"""A blank text, a misspelled option, an option of the wrong type. Each gets a failure reply."""


class Ticket(Struct, frozen=True):
    """A ticket of the examples; ``expected`` is the category that a person has chosen."""

    text: str
    expected: str | None = None


class Traffic(NamedTuple):
    """The requests in the order of sending. Their ids are ``run``-NUMBER."""

    run: str
    requests: Sequence[Request]
    expected: dict[str, str]
    different: int
    broken: int


def load_tickets(
    path: Path | None, text: str = "text", label: str = "expected", dialect: Dialect | None = None
) -> list[Ticket]:
    """The tickets of a file, by default the examples; rows without a text are left out. Raises UsageError."""
    if path is None and not EXAMPLES.exists():
        raise UsageError(
            "The example tickets are in the project's checkout: run the demo there, or use --data FILE."
        )
    source = path or EXAMPLES
    rows = read_rows(source, Wanted({"--text": text}, [label]), dialect)
    tickets = [
        Ticket(found, cell_of(source, row, label))
        for row in rows
        if (found := cell_of(source, row, text)) is not None
    ]
    if not tickets:
        raise UsageError(f"{source} holds no texts in {text!r}: name the column by --text.")
    return tickets


def plan_traffic(tickets: Sequence[Ticket], count: int, run: str, seed: int = 7) -> Traffic:
    """``count`` requests: each ticket once if possible, then repetitions, in random order."""
    rng = random.Random(seed)
    drawn = list(tickets[:count]) + rng.choices(tickets, k=max(0, count - len(tickets)))
    rng.shuffle(drawn)
    requests = [Request(text=ticket.text, id=f"{run}-{number}") for number, ticket in enumerate(drawn)]
    expected = {f"{run}-{number}": ticket.expected for number, ticket in enumerate(drawn) if ticket.expected}
    broken = [msgspec.convert(body, Request) for body in BROKEN[: count // 10]]
    for index, request in zip(rng.sample(range(count), len(broken)), broken, strict=True):
        requests[index] = msgspec.structs.replace(request, id=requests[index].id)
        expected.pop(str(requests[index].id), None)
    return Traffic(run, requests, expected, len({request.text for request in requests}), len(broken))
