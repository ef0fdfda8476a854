"""An answer in the terminal: the output and its origin (model or cache); in a pipe, one line of text."""

import re
from collections.abc import Callable
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

LINE_BREAKS: Final = re.compile(r"\r\n|[\r\n]")


def print_answer(answer: Answer[Any]) -> None:
    """Print the answer to standard output, at most 78 columns wide."""
    console = Console(highlight=False)
    reply = answer.reply
    body = _body(reply.task, answer.output)
    console.print(Panel(body, title=reply.task, subtitle=_origin(reply), width=min(console.width, 78)))


def answer_line(answer: Answer[Any]) -> str:
    """The answer as one line: what the task's `line` makes of it, or JSON."""
    line = _made_by_task(answer.reply.task, "line", answer.output, lambda made: isinstance(made, str))
    if line is None:
        return msgspec.json.encode(answer.output).decode()
    return LINE_BREAKS.sub(" ", line)


def _body(task: str, output: Any) -> RenderableType:
    """As the task shows it, or as JSON."""
    shown: RenderableType | None = _made_by_task(task, "show", output, is_renderable)
    if shown is None:
        return Text(msgspec.json.format(msgspec.json.encode(output), indent=2).decode())
    return Text(shown) if isinstance(shown, str) else shown


def _made_by_task(task: str, method: str, output: Any, is_right: Callable[[Any], bool]) -> Any:
    """What a method of the task's definition makes of the output. None if it has no such method.

    None also if it fails, or returns something else; that is told on standard error.
    """
    function = getattr(tasks().known(task), method, None)
    if function is None:
        return None
    try:
        made = function(output)
        if is_right(made):
            return made
        fault = f"returned a value of the type {type(made).__name__}"
    except Exception as error:  # the code of a package may raise anything
        fault = f"raised {type(error).__name__}: {error}"
    click.echo(f"{tasks().subject(task)} cannot show its answer, since `{method}` {fault}.", err=True)
    return None


def _origin(reply: Result) -> str:
    took = f"{reply.timings.total_ms:.1f} ms"
    release = f" · release {reply.release}" if reply.release else ""
    return f"[dim]{reply.model} {reply.version}{release} · by {SOURCES[reply.cache]} in {took}[/]"
