"""What commands that read topics share: where the topics are, and how far the reading is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ...broker.base import Broker
from ...config import Config
from ...errors import UsageError

embedded_option = click.option(
    "--embedded",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Read the topics in this folder instead of Kafka's.",
)


def open_broker(config: Config, kafka: str | None, embedded: Path | None) -> Broker:
    """The broker, not connected yet. Raises UsageError when both places are named."""
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: the topics are in one of the two places.")
    if embedded:
        from ...broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(embedded)
    from ...broker.kafka.broker import KafkaBroker

    return KafkaBroker(config.kafka)


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal; tell it (done, total)."""
    columns = (TextColumn(description), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def printable(text: str) -> str:
    """``text`` as it may go to a terminal: what a stranger sent must not steer it."""
    return text if text.isprintable() else ascii(text)
