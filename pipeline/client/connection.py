"""The broker that a client opens."""

from pathlib import Path

from ..broker.base import Broker
from ..config import KafkaConfig


def connection(config: KafkaConfig, embedded: Path | str | None) -> tuple[Broker, str]:
    """The broker, and the option of `inferstream worker` that selects it."""
    if embedded is not None:
        from ..broker.embedded.broker import EmbeddedBroker

        return EmbeddedBroker(Path(embedded)), f" --embedded {embedded}"
    from ..broker.kafka.broker import KafkaBroker

    return KafkaBroker(config), f" --kafka {config.bootstrap}"
