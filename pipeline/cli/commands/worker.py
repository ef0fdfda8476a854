"""`inferstream worker`: serve a task until a signal ends it."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ...broker.base import Broker
from ...config import Config
from ...errors import UsageError
from ..options.settings import KAFKA, PIPELINE, TOPICS, with_settings

if TYPE_CHECKING:
    from ...serving.hosting import Host

LEVELS: Final = ("debug", "info", "warning", "error")


@click.command("worker")
@click.argument("task")
@click.option(
    "--embedded",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Serve the topics in this folder instead of Kafka: for one machine, without a server.",
)
@click.option(
    "--model",
    multiple=True,
    metavar="NAME",
    help="A model to serve, see `inferstream models list`. May be repeated: a request names its model in the header "
    "`model`, the first answers those that name none.",
)
@click.option(
    "--group", help="The consumer group; workers of one group share the load.  [default: PREFIX.TASK]"
)
@click.option(
    "--member",
    metavar="ID",
    help="A name for this worker that outlives it, unique in the group. Back within the session timeout, it gets its "
    "partitions again and the others notice nothing: for rolling restarts.",
)
@with_settings(KAFKA, TOPICS, PIPELINE)
@click.option(
    "--web-host",
    default="127.0.0.1",
    show_default=True,
    help="The address at which /healthz, /readyz and /metrics are served; 0.0.0.0 for all, as in a container.",
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    default=6066,
    show_default=True,
    help="Their port; 0 takes a free one and logs it, for several workers on one machine.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    help="How much is told on standard error.",
)
def command(
    task: str,
    kafka: str | None,
    embedded: Path | None,
    config: Config,
    model: tuple[str, ...],
    group: str | None,
    member: str | None,
    web_host: str,
    web_port: int,
    log_level: str,
) -> None:
    """Serve TASK: read its requests, answer them, until SIGTERM or Ctrl-C.

    The topics are made where they are missing. Start as many workers as there are partitions; each adds throughput,
    and whichever dies, the others answer what it had begun.

    \b
      inferstream worker triage --kafka broker-1:9092,broker-2:9092
      inferstream worker triage --embedded ./queue
    """
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: a worker reads from one of the two.")
    host = None if embedded else _host()
    from ...serving.build import build_worker
    from ...serving.hosting import Hosted, run_alone
    from ...serving.logs import configure_worker_logging
    from ...serving.tuning import tune_process

    configure_worker_logging(log_level)
    broker = _broker(config, embedded)
    serving = build_worker(config, broker, task, models=model, group=group, member=member)
    tune_process()
    hosted = Hosted(task, broker, serving, config.window.drain_timeout_ms)
    if host is None:
        run_alone(hosted)
    else:
        host(hosted, web_host=web_host, web_port=web_port)


def _host() -> "Host":
    """The host that the extra `faust` brings. Raises ModuleNotFoundError without Faust."""
    for entry_point in entry_points(group="inferstream.hosts", name="faust"):
        host: Host = entry_point.load()
        return host
    raise UsageError("This install lacks its entry points: run pip install 'inferstream[faust]'.")


def _broker(config: Config, embedded: Path | None) -> Broker:
    if embedded:
        from ...broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(embedded)
    from ...broker.kafka.broker import KafkaBroker

    return KafkaBroker(config.kafka)
