"""`inferstream kafka`: runs a real Kafka in the foreground. Its extra is imported when it runs."""

import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ...errors import BrokerError
from ..options.ports import PORT

if TYPE_CHECKING:
    from ...kafka_local.cluster import LocalKafka


@click.command()
@click.option(
    "--port",
    type=PORT,
    default=9092,
    show_default=True,
    help="Port of the first broker; the others follow. 0 takes free ports.",
)
@click.option(
    "--brokers",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    help="Number of brokers. With 3, topics have 3 replicas by default.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait until each broker responds.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Store topics, settings and logs in this folder. Without it they are deleted at the end.",
)
def command(port: int, brokers: int, timeout_s: float, data: Path | None) -> None:
    """Run a real Apache Kafka on this machine until Ctrl-C.

    Needs no Java and no Docker. It listens on 127.0.0.1 only, without encryption or passwords, and does not create
    topics by itself. The broker's jars (50 MB) are fetched on first use and stored.
    """
    from ...kafka_local.cluster import LocalKafka

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            directory = data or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="inferstream-kafka-"))
            )
            _fetch()
            kafka = LocalKafka(directory, brokers=brokers, port=port)
            stack.callback(kafka.stop)
            kafka.start(timeout_s)
            _show(kafka)
            _watch(kafka, brokers)
    except KeyboardInterrupt:
        click.echo("Kafka has stopped.", err=True)


def _fetch() -> None:
    from ...kafka_local.jars import class_path, jar_folder

    columns = (TextColumn("Fetching Kafka"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("jars", total=None, visible=False)
        class_path(
            jar_folder(), lambda done, total: bar.update(task, completed=done, total=total, visible=True)
        )


def _show(kafka: "LocalKafka") -> None:
    from ...kafka_local.jars import VERSION

    click.echo(f"Kafka {VERSION} answers on {kafka.bootstrap}; data and logs are in {kafka.directory}.")
    click.echo(f"Try in another terminal: inferstream worker triage --kafka {kafka.bootstrap}")
    click.echo("Ctrl-C stops it.")


def _watch(kafka: "LocalKafka", brokers: int) -> None:
    """Does not return. Raises BrokerError when a broker ends."""
    while len(kafka.running()) == brokers:
        time.sleep(0.5)
    ended = min(set(range(1, brokers + 1)) - set(kafka.running()))
    raise BrokerError(f"Broker {ended} ended unexpectedly: see {kafka.log(ended)}.")
