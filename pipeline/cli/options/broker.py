"""The broker of a command that reads topics."""

from pathlib import Path

import click

from ...broker.base import Broker
from ...config import Config
from ...errors import UsageError

embedded_option = click.option(
    "--embedded",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Read the topics in this folder of an embedded broker instead of Kafka.",
)


def open_broker(config: Config, kafka: str | None, embedded: Path | None) -> Broker:
    """The broker, not connected yet. Raises UsageError if both options are given."""
    if kafka and embedded:
        raise UsageError("Give either --kafka or --embedded: the topics are in one of the two places.")
    if embedded:
        from ...broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(embedded)
    from ...broker.kafka.broker import KafkaBroker

    return KafkaBroker(config.kafka)
