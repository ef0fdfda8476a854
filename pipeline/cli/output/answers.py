"""An answer in the terminal: the output, the confidence, and its origin (model or cache)."""

from typing import Any, Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ....schemas.messages import Result, TriageOutput
from ...client.replies import Answer

BAR: Final = 20
SOURCES: Final = {
    "miss": "the model",
    "memory": "the cache",
    "disk": "the cache on disk",
    "flight": "an equal request in progress",
    "off": "the model (cache off)",
}
URGENCY: Final = {"urgent": "bold red", "high": "red", "normal": "", "low": "dim"}


def print_answer(answer: Answer[Any]) -> None:
    """Print the answer to standard output, at most 78 columns wide."""
    console = Console(highlight=False)
    output = answer.output
    body = _triage(output) if isinstance(output, TriageOutput) else Text(_json(output))
    console.print(
        Panel(body, title=answer.reply.task, subtitle=_origin(answer.reply), width=min(console.width, 78))
    )


def confidence_bar(confidence: float, width: int = BAR) -> Text:
    """A bar of ``width`` cells and the percentage."""
    full = round(confidence * width)
    return Text.assemble(("█" * full, "green"), ("░" * (width - full), "dim"), f" {confidence:4.0%}")


def urgency(priority: str) -> Text:
    return Text(priority, URGENCY.get(priority, ""))


def _triage(output: TriageOutput) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    facts.add_row("category", Text(output.category, "bold"))
    facts.add_row("confidence", confidence_bar(output.confidence))
    facts.add_row("priority", urgency(output.priority))
    facts.add_row("route", output.route)
    facts.add_row("needs a human", Text("yes", "bold yellow") if output.needs_human else "no")
    if output.note:
        facts.add_row("note", Text(output.note, "yellow"))
    others = Table.grid(padding=(0, 2))
    for other in output.runners_up:
        others.add_row(
            "or else" if other is output.runners_up[0] else "", other.category, f"{other.confidence:.0%}"
        )
    return Group(facts, Text(), others) if output.runners_up else facts


def _origin(reply: Result) -> str:
    took = f"{reply.timings.total_ms:.1f} ms"
    return f"[dim]{reply.model} {reply.version} · by {SOURCES[reply.cache]} in {took}[/]"


def _json(output: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(output), indent=2).decode()
