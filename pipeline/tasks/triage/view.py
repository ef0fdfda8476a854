"""An answer of triage in a terminal."""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ....schemas.messages import TriageOutput

BAR: Final = 20
URGENCY: Final = {"urgent": "bold red", "high": "red", "normal": "", "low": "dim"}


def shown(output: TriageOutput) -> RenderableType:
    """Category, confidence, priority and route, and the next best categories."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("category", Text(output.category, "bold"))
    facts.add_row("confidence", confidence_bar(output.confidence))
    facts.add_row("priority", urgency(output.priority))
    facts.add_row("route", output.route)
    facts.add_row("needs a human", Text("yes", "bold yellow") if output.needs_human else "no")
    if output.note:
        facts.add_row("note", Text(output.note, "yellow"))
    for number, block in enumerate(output.text_blocks or ()):
        facts.add_row("" if number else "text blocks", Text(block))
    others = Table.grid(padding=(0, 2))
    for other in output.runners_up:
        others.add_row(
            "or else" if other is output.runners_up[0] else "", other.category, f"{other.confidence:.0%}"
        )
    return Group(facts, Text(), others) if output.runners_up else facts


def confidence_bar(confidence: float, width: int = BAR) -> Text:
    """A bar of ``width`` cells and the percentage."""
    full = round(confidence * width)
    return Text.assemble(("█" * full, "green"), ("░" * (width - full), "dim"), f" {confidence:4.0%}")


def urgency(priority: str) -> Text:
    return Text(priority, URGENCY.get(priority, ""))
