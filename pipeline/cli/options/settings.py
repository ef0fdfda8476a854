"""Options that override the settings file: the one place where the two become a `Config`."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
from msgspec import structs

from ...config import Config, load_config

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FILE = click.Path(dir_okay=False, path_type=Path)


class Setting(NamedTuple):
    """A setting by its table and name in the settings file, and the option that overrides it."""

    path: str
    parameter: str
    option: Decorator


def setting(path: str, option: str, **attributes: Any) -> Setting:
    """The option for a setting; its parameter is named after it, so that its variable is too."""
    parameter = option.partition("/")[0].removeprefix("--").replace("-", "_")
    return Setting(path, parameter, click.option(option, parameter, default=None, **attributes))


KAFKA_ADDRESS: Final[dict[str, Any]] = {
    "metavar": "HOST:PORT",
    "help": "A broker of the Kafka cluster; several with commas between.  [default: 127.0.0.1:9092]",
}
ADDRESS: Final = (setting("kafka.bootstrap", "--kafka", **KAFKA_ADDRESS),)
KAFKA: Final = (
    setting(
        "kafka.topic_prefix",
        "--topic-prefix",
        help="What the names of all topics begin with: PREFIX.TASK.requests and so on. "
        "All who talk with each other use the same.  [default: inferstream]",
    ),
)
TOPICS: Final = (
    setting(
        "kafka.partitions",
        "--partitions",
        type=click.IntRange(min=1),
        help="Partitions that topics are made with, and that those which exist must have at least. So many workers at "
        "most share the load.  [default: 4 for topics that are made, any number for others]",
    ),
    setting(
        "kafka.replication",
        "--replication",
        type=click.IntRange(min=1),
        help="Copies of topics that do not exist yet: 3 survive the loss of a broker.  [default: 1]",
    ),
)
PIPELINE: Final = (
    setting(
        "engine.provider",
        "--provider",
        type=click.Choice(["cpu", "cuda", "tensorrt"]),
        help="Run models on this; an error where it is not there.  [default: the best there is]",
    ),
    setting(
        "engine.lanes",
        "--lanes",
        type=click.IntRange(min=1),
        help="Batches that run side by side.  [default: one for each core, or 2 on a GPU]",
    ),
    setting(
        "cache.enabled",
        "--cache/--no-cache",
        help="Answer what was answered before from the cache.  [default: cache]",
    ),
    setting(
        "cache.directory",
        "--cache-dir",
        type=click.Path(file_okay=False),
        help="Where cached answers are kept across restarts.  [default: your cache folder]",
    ),
    setting(
        "triage.threshold",
        "--threshold",
        type=click.FloatRange(0, 1),
        help="Below this confidence a ticket needs a human, 0 to 1.  [default: the taxonomy's]",
    ),
    setting(
        "triage.taxonomy",
        "--taxonomy",
        type=click.Path(dir_okay=False),
        help="A TOML file with your categories, their descriptions, examples and routes.  [default: the one shipped]",
    ),
)


def with_settings(*groups: tuple[Setting, ...], kafka: bool = True) -> Decorator:
    """Give a command the options of ``groups``, and its function what they come to, as ``config: Config``.

    A command line option counts more than its variable, that more than the settings file. With ``kafka`` the function
    also gets ``kafka``: the address that was given as an option or by the variable, None without one.
    """
    settings = [one for group in groups for one in group]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(config: Path | None, **options: Any) -> Any:
            values = {one.path: options.pop(one.parameter) for one in settings}
            if kafka:
                values["kafka.bootstrap"] = options["kafka"]
            return function(config=overridden(load_config(config), values), **options)

        for option in (*(one.option for one in reversed(settings)), _file, *([_kafka] * kafka)):
            command = option(command)
        return command

    return decorate


def overridden(config: Config, values: Mapping[str, object]) -> Config:
    """``config`` with these values, by ``table.name``; None leaves a setting as it is."""
    for path, value in values.items():
        if value is not None:
            table, name = path.split(".")
            config = structs.replace(
                config, **{table: structs.replace(getattr(config, table), **{name: value})}
            )
    return config


_file = click.option(
    "--config",
    type=FILE,
    help="A TOML file with all settings, those without an option of their own included.",
)
_kafka = click.option("--kafka", **KAFKA_ADDRESS)
