"""What the demo sends: the example tickets, many of them again and again, and a few requests that are broken."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from ....schemas.messages import Request
from ...errors import UsageError

EXAMPLES: Final = Path(__file__).resolve().parents[3] / "examples" / "tickets.jsonl"
"""In a checkout, through the link that the package is there."""
BROKEN: Final = (
    {"text": "   "},
    {"text": "Where is my parcel?", "options": {"treshold": 0.8}},
    {"text": "Please cancel my order", "options": {"threshold": "high"}},
)
"""Blank, a misspelled option, a wrong type: each is answered with what to do, and disturbs nobody."""


class Ticket(Struct, frozen=True):
    """A ticket of the examples; ``expected`` is the category that a person chose."""

    text: str
    expected: str | None = None


class Traffic(NamedTuple):
    """The requests in the order in which they are sent; their ids begin with ``run`` and a hyphen."""

    run: str
    requests: Sequence[Request]
    expected: dict[str, str]
    different: int
    broken: int


def load_tickets(path: Path | None) -> list[Ticket]:
    """The tickets in ``path``, JSON lines with a `text`; the examples of the checkout by default. Raises UsageError."""
    if path is None and not EXAMPLES.exists():
        raise UsageError(
            "The example tickets are in the project's checkout: run the demo there, or give it --data FILE."
        )
    source = path or EXAMPLES
    try:
        tickets = msgspec.json.Decoder(Ticket).decode_lines(source.read_bytes())
    except OSError as error:
        raise UsageError(f"Cannot read the tickets in {source}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The tickets in {source} are not JSON lines with a `text`: {error}.") from error
    if not tickets:
        raise UsageError(f"There are no tickets in {source}.")
    return tickets


def plan_traffic(tickets: Sequence[Ticket], count: int, run: str, seed: int = 7) -> Traffic:
    """``count`` requests: every ticket once as far as there is room, the rest repeats, in an order set by ``seed``."""
    rng = random.Random(seed)
    drawn = list(tickets[:count]) + rng.choices(tickets, k=max(0, count - len(tickets)))
    rng.shuffle(drawn)
    requests = [Request(text=ticket.text, id=f"{run}-{number}") for number, ticket in enumerate(drawn)]
    expected = {f"{run}-{number}": ticket.expected for number, ticket in enumerate(drawn) if ticket.expected}
    broken = [msgspec.convert(body, Request) for body in BROKEN[: count // 10]]
    for place, request in zip(rng.sample(range(count), len(broken)), broken, strict=True):
        requests[place] = msgspec.structs.replace(request, id=requests[place].id)
        expected.pop(str(requests[place].id), None)
    return Traffic(run, requests, expected, len({request.text for request in requests}), len(broken))
