"""`inferstream worker`: serve a task until SIGTERM or Ctrl-C."""

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ...config import Config
from ...errors import UsageError
from ...tasks.chains.declared import task_models
from ..options.broker import open_broker
from ..options.of_tasks import SettingsCommand
from ..options.ports import PORT
from ..options.registry import REGISTRY
from ..options.settings import KAFKA, PIPELINE, TOPICS, with_settings

if TYPE_CHECKING:
    from ...serving.hosting import Host

LEVELS: Final = ("debug", "info", "warning", "error")


@click.command("worker", cls=SettingsCommand)
@click.argument("served", nargs=-1, required=True, metavar="TASK...")
@click.option(
    "--embedded",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Serve the topics in this folder instead of Kafka: one machine, no server.",
)
@click.option(
    "--model",
    multiple=True,
    metavar="NAME",
    help="Model to serve, see `inferstream models list`; TASK@ALIAS or TASK@VERSION is a release of the registry, see "
    "`inferstream models promote`; what an alias names next is served without a restart. With several tasks, "
    "TASK:NAME. May be repeated: requests select a model with the header `model`; the first one of a task answers "
    "requests without it.  [default: the models of the task's settings]",
)
@click.option(
    "--group", help="Consumer group; the workers of a group share the requests.  [default: PREFIX.TASK]"
)
@click.option(
    "--member",
    metavar="ID",
    help="Static member id, unique in the group. A worker that restarts with it within the session timeout "
    "gets its partitions back without a rebalance: use it for rolling restarts.",
)
@with_settings(KAFKA, TOPICS, PIPELINE, REGISTRY)
@click.option(
    "--web-host",
    default="127.0.0.1",
    show_default=True,
    help="Address for /healthz, /readyz and /metrics; 0.0.0.0 listens on all interfaces.",
)
@click.option(
    "--web-port",
    type=PORT,
    default=6066,
    show_default=True,
    help="Port for them; 0 chooses a free port and logs it, for several workers on one machine.",
)
@click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    help="Level of the log on standard error.",
)
def command(
    served: tuple[str, ...],
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
    """Serve each TASK: read its requests and answer them, until SIGTERM or Ctrl-C.

    Fetch the models first: `inferstream models pull minilm`. Missing topics are created. Each worker adds
    throughput, up to one worker per partition. If a worker dies, the other workers of its group answer the
    requests that it had not finished. Several tasks share the device; models that they have in common are loaded once.
    `inferstream worker TASK --help` shows also the settings of a task. A task also answers its steps of all chains in
    the settings; the name of a chain stands for the tasks of all its steps.

    \b
      inferstream worker triage --kafka broker-1:9092,broker-2:9092
      inferstream worker triage --embedded ./queue
      inferstream worker triage embed --model triage:shop --model embed:minilm
      inferstream worker triage --model triage@prod --registry s3://bucket/models
    """
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: a worker reads from one of the two.")
    models = _models(list(task_models(dict.fromkeys(served, ()), config)), model)
    host = None if embedded else _host()
    from ...serving.build import build_worker
    from ...serving.hosting import Hosted, run_alone
    from ...serving.logs import configure_worker_logging
    from ...serving.tuning import tune_process

    configure_worker_logging(log_level)
    broker = open_broker(config, None, embedded)
    serving = build_worker(config, broker, models, group=group, member=member)
    tune_process()
    hosted = Hosted(broker, serving, config.window.drain_timeout_ms)
    if host is None:
        run_alone(hosted)
    else:
        host(hosted, web_host=web_host, web_port=web_port)


def _models(served: Sequence[str], models: Sequence[str]) -> dict[str, list[str]]:
    """The models of each task. Raises UsageError for a model of no task."""
    chosen: dict[str, list[str]] = {task: [] for task in served}
    for model in models:
        task, colon, name = model.rpartition(":")
        if not colon and len(chosen) > 1:
            raise UsageError(
                f"Several tasks are served: say which one the model is for, as in --model {served[0]}:{model}."
            )
        if colon and task not in chosen:
            raise UsageError(
                f"The model {name} is for {task!r}, which is not served: name that task as well."
            )
        chosen[task or served[0]].append(name)
    return chosen


def _host() -> "Host":
    """The host of the extra `faust`. Raises ModuleNotFoundError if Faust is not installed."""
    for entry_point in entry_points(group="inferstream.hosts", name="faust"):
        host: Host = entry_point.load()
        return host
    raise UsageError(
        "This install lacks its entry points: run pip install '.[faust]' in a checkout of inferstream."
    )
