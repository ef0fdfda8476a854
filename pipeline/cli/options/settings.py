"""Options that override the settings file; both together become a `Config`."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from ...errors import UsageError
from ...settings.addresses import parse_addresses
from ...settings.sources import Given, Givens
from ...tasks.settings import load_config
from .variables import origin_of

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FILE = click.Path(dir_okay=False, path_type=Path)


class Setting(NamedTuple):
    """A setting as ``table.name`` of the settings file, and the option that overrides it."""

    path: str
    parameter: str
    option: Decorator


def setting(path: str, option: str, **attributes: Any) -> Setting:
    """The option for the setting ``path``. Its parameter has its name, which also names its variable."""
    parameter = option.partition("/")[0].removeprefix("--").replace("-", "_")
    return Setting(path, parameter, click.option(option, parameter, default=None, **attributes))


class KafkaAddress(click.ParamType):
    """Addresses of brokers, as `parse_addresses` reads them."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_addresses(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


KAFKA_ADDRESS: Final[dict[str, Any]] = {
    "metavar": "HOST:PORT",
    "type": KafkaAddress(),
    "help": "Address of the Kafka cluster; several brokers separated by commas.  [default: 127.0.0.1:9092]",
}
ADDRESS: Final = (setting("kafka.bootstrap", "--kafka", **KAFKA_ADDRESS),)
KAFKA: Final = (
    setting(
        "kafka.topic_prefix",
        "--topic-prefix",
        help="Prefix of all topic names: PREFIX.TASK.requests and so on. Workers and clients must use the "
        "same.  [default: inferstream]",
    ),
)
TOPICS: Final = (
    setting(
        "kafka.partitions",
        "--partitions",
        type=click.IntRange(min=1),
        help="Partitions of new topics, and the minimum for existing ones. At most that many workers share "
        "the load.  [default: 4 for new topics, no minimum for existing ones]",
    ),
    setting(
        "kafka.replication",
        "--replication",
        type=click.IntRange(min=1),
        help="Replicas of new topics; with 3, records survive the loss of a broker.  [default: 1]",
    ),
)
PIPELINE: Final = (
    setting(
        "engine.provider",
        "--provider",
        type=click.Choice(["cpu", "cuda", "tensorrt"]),
        help="Device for the models; an error if it is not available.  [default: the best available]",
    ),
    setting(
        "engine.lanes",
        "--lanes",
        type=click.IntRange(min=1),
        help="Batches that run in parallel.  [default: one for each core; 2 on a GPU]",
    ),
    setting(
        "cache.enabled",
        "--cache/--no-cache",
        help="Answer repeated requests from the cache.  [default: cache]",
    ),
    setting(
        "cache.directory",
        "--cache-dir",
        type=click.Path(file_okay=False),
        help="Folder that keeps cached answers across restarts.  [default: your cache folder]",
    ),
)


def with_settings(*groups: tuple[Setting, ...], kafka: bool = True) -> Decorator:
    """Adds the options of ``groups`` to a command and passes ``config: Config`` to its function.

    An option overrides its environment variable, which overrides the settings file. With ``kafka=True`` there
    is also an option --kafka, and the function gets its value as ``kafka: str | None``.
    """
    settings = [one for group in groups for one in group]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(config: Path | None, **options: Any) -> Any:
            paths = {one.parameter: one.path for one in settings}
            given = {parameter: options.pop(parameter) for parameter in paths}
            if kafka:
                given["kafka"] = options["kafka"]
                paths["kafka"] = "kafka.bootstrap"
            of_tasks = [name for name in options if "." in name]  # see `of_tasks.SettingsCommand`
            given |= {name: options.pop(name) for name in of_tasks}
            paths |= {name: name for name in of_tasks}
            givens = {paths[name]: value for name, value in _givens(given).items()}
            return function(config=load_config(config, givens), **options)

        for option in (*(one.option for one in reversed(settings)), _file, *([_kafka] * kafka)):
            command = option(command)
        return command

    return decorate


def _givens(values: Mapping[str, object]) -> Givens:
    """The parameters that have a value, each with the option or the variable that gives it."""
    context = click.get_current_context()
    options = {one.name: one for one in context.command.get_params(context) if isinstance(one, click.Option)}
    return {
        name: Given(value, origin_of(context, options[name]))
        for name, value in values.items()
        if value is not None
    }


_file = click.option(
    "--config",
    type=FILE,
    help="TOML file with settings, also with those that have no option.",
)
_kafka = click.option("--kafka", **KAFKA_ADDRESS)
