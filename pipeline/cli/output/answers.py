"""An answer in the terminal: the output and its origin (model or cache)."""

from typing import Any, Final

import msgspec
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.text import Text

from ....schemas.messages import Result
from ...client.replies import Answer
from ...tasks.catalogue import tasks

SOURCES: Final = {
    "miss": "the model",
    "memory": "the cache",
    "disk": "the cache on disk",
    "flight": "an equal request in progress",
    "off": "the model (cache off)",
}


def print_answer(answer: Answer[Any]) -> None:
    """Print the answer to standard output, at most 78 columns wide."""
    console = Console(highlight=False)
    reply = answer.reply
    body = _body(reply.task, answer.output)
    console.print(Panel(body, title=reply.task, subtitle=_origin(reply), width=min(console.width, 78)))


def _body(task: str, output: Any) -> RenderableType:
    """As the task shows it, or as JSON."""
    show = getattr(tasks().known(task), "show", None)
    if show is None:
        return Text(msgspec.json.format(msgspec.json.encode(output), indent=2).decode())
    shown: RenderableType = show(output)
    return Text(shown) if isinstance(shown, str) else shown


def _origin(reply: Result) -> str:
    took = f"{reply.timings.total_ms:.1f} ms"
    return f"[dim]{reply.model} {reply.version} · by {SOURCES[reply.cache]} in {took}[/]"
