"""The types of the client, as a user's mypy sees them."""

from pathlib import Path

from support.overloads import ASYNC, with_overloads

import inferstream.pipeline.client.calls as calls
from inferstream.schemas.tasks import CONTRACTS


def test_the_overloads_are_those_of_the_contracts() -> None:
    path = Path(calls.__file__)
    committed = path.read_text()
    made = with_overloads(committed, ASYNC, CONTRACTS)
    path.write_text(made)
    assert made == committed, f"The contracts changed: {path.name} is made anew, look at it and commit it."
