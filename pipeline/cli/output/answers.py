"""An answer in the terminal: the output and its origin (model or cache)."""

from typing import Any, Final

import click
import msgspec
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.protocol import is_renderable
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
    """As the task shows it, or as JSON; a fault of its `show` is told on standard error."""
    show = getattr(tasks().known(task), "show", None)
    if show is not None:
        try:
            shown: RenderableType = show(output)
            if is_renderable(shown):
                return Text(shown) if isinstance(shown, str) else shown
            fault = f"returned a value of the type {type(shown).__name__}"
        except Exception as error:  # the code of a package may raise anything
            fault = f"raised {type(error).__name__}: {error}"
        click.echo(f"{tasks().subject(task)} cannot show its answer, since `show` {fault}.", err=True)
    return Text(msgspec.json.format(msgspec.json.encode(output), indent=2).decode())


def _origin(reply: Result) -> str:
    took = f"{reply.timings.total_ms:.1f} ms"
    return f"[dim]{reply.model} {reply.version} · by {SOURCES[reply.cache]} in {took}[/]"
