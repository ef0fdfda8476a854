"""Texts that no category is for, and negated ones: what accuracy on good rows does not show."""

from importlib import resources
from typing import Final, NamedTuple

from ..triage.labeled import Labeled
from .negated import negated

FOREIGN: Final = "foreign.txt"
"""Two hundred sentences of ten other domains, written for this. Shipped, so that figures can be compared."""

MAX_NEGATED: Final = 300


class ExtraSets(NamedTuple):
    """``foreign`` should be sent to a human; ``labeled_negated`` have right answers, ``made_negated`` have none."""

    foreign: list[str]
    made_negated: list[str]
    labeled_negated: Labeled | None = None


def extra_sets(
    rows: list[str], foreign: list[str] | None = None, labeled_negated: Labeled | None = None
) -> ExtraSets:
    """The shipped foreign texts unless there are others, and the opposites of ``rows``."""
    return ExtraSets(foreign or shipped_foreign(), negated(rows, MAX_NEGATED), labeled_negated)


def shipped_foreign() -> list[str]:
    """The sentences of FOREIGN."""
    return resources.files(__package__).joinpath(FOREIGN).read_text("utf-8").splitlines()
