"""The options of commands that send requests: to which workers, how, and how long they wait."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ....schemas.topics import PRIORITIES
from ...client.keywords import DEFAULT_TIMEOUT_S
from .settings import KAFKA_ADDRESS, Decorator

HIGHER_FIRST = "Busy workers run requests of a higher priority first"


def sending_options(
    *, model: Decorator, priority: Decorator, in_flight: str, timeout: str = ""
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --kafka, --embedded, --model, --priority, --tenant, --timeout and --max-in-flight.

    Args:
        model: the option --model.
        priority: the option --priority, see `priority_option`.
        in_flight: what is in progress, for the help.
        timeout: the end of the sentence about the answer that is waited for.
    """
    options = (
        click.option(
            "--kafka",
            **{
                **KAFKA_ADDRESS,
                "help": "Send to the workers on this Kafka.  [default: run the model in this process]",
            },
        ),
        click.option(
            "--embedded",
            type=click.Path(path_type=Path, file_okay=False),
            help="Send to the worker that serves this folder (`inferstream worker TASK --embedded`).",
        ),
        model,
        priority,
        click.option(
            "--tenant",
            metavar="NAME",
            help="Tenant of the requests. Tenants never share cached answers.",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(0, min_open=True),
            default=DEFAULT_TIMEOUT_S,
            show_default=True,
            help=f"Seconds to wait for the next answer{timeout}.",
        ),
        click.option(
            "--max-in-flight",
            type=click.IntRange(1),
            default=256,
            show_default=True,
            help=f"Maximum number of {in_flight} in progress at a time.",
        ),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def model_option(default: str) -> Decorator:
    """``default``: which model answers without a name, for the help."""
    return click.option("--model", metavar="NAME", help=f"Model that answers.  [default: {default}]")


def priority_option(**attributes: Any) -> Decorator:
    """``attributes``: its help and default."""
    return click.option("--priority", type=click.Choice(PRIORITIES), **attributes)
